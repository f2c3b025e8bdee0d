"""Completion for shells: commands and options, and the names of stages, splits, methods and profiles.

The names are read from the yaml files by the shell itself, since starting Python at every touch of the tab
key would take half a second.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import shtab

from cmbml.methods.registry import NAMES as METHODS

_KEYS = r"""
_cmbml_root() {
  local folder="$PWD"
  while [ -n "$folder" ] && [ ! -e "$folder/dvc.yaml" ]; do folder="${folder%/*}"; done
  echo "$folder"
}
_cmbml_keys() {
  awk -v key="$2" '
    /^[^ #-]/ { on = 0 }
    on && match($0, /[^ ]/) && !/^ *#/ {
      if (!depth) depth = RSTART
      if (RSTART == depth) { sub(/:.*/, ""); gsub(/[ "\047]/, ""); print }
    }
    index($0, key ":") == 1 { on = 1 }
  ' "$(_cmbml_root)/$1" 2>/dev/null
}
_cmbml_names_stage() { _cmbml_keys dvc.yaml stages; }
_cmbml_names_split() { _cmbml_keys params.yaml splits; }
_cmbml_names_method() {
  awk '
    /^[A-Za-z]/ { on = 0 }
    sub(/^methods:/, "") { on = 1 }
    on { sub(/#.*/, ""); sub(/^ *-/, ""); gsub(/[][,"\047]/, " "); print }
  ' "$(_cmbml_root)/params.yaml" 2>/dev/null | tr -s ' ' '\n'
}
_cmbml_names_profile() { (cd "$(_cmbml_root)/profiles" && ls *.yaml | sed 's/\.yaml$//') 2>/dev/null; }
"""
_NAMES = ("stage", "split", "method", "profile")
_BASH = '_cmbml_{0}() {{ compgen -W "$(_cmbml_names_{0})" -- "$1"; }}'
_ZSH = '_cmbml_{0}() {{ compadd -- ${{(f)"$(_cmbml_names_{0})"}} }}'


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """Script that completes the command line in a shell: bash or zsh."""
    for command, action in _arguments(parser):
        _set_completion(command, action)
    preamble = {"bash": _BASH, "zsh": _ZSH}[shell]
    functions = "\n".join(preamble.format(name) for name in _NAMES)
    return shtab.complete(parser, shell, preamble={shell: f"{_KEYS}{functions}\n"})


def _arguments(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
    """All arguments of all commands, with the name of the command."""
    subparsers = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))  # noqa: SLF001
    for name, command in subparsers.choices.items():
        for action in command._actions:  # noqa: SLF001
            yield name, action


def _set_completion(command: str, action: argparse.Action) -> None:
    if (command, action.dest) == ("clean", "method"):
        action.choices = METHODS
    kind = "profile" if (command, action.dest) == ("profile", "name") else action.dest
    if kind in _NAMES and command != "clean":
        action.complete = dict.fromkeys(("bash", "zsh"), f"_cmbml_{kind}")  # type: ignore[attr-defined]
    elif action.type is Path:
        action.complete = shtab.FILE  # type: ignore[attr-defined]
