import shutil
import subprocess
import sys
from functools import cache

import pytest

from cmbml.cli.entry import _parser, main
from tests.conftest import ROOT


@cache
def script():
    """What the user's shell reads, from a process of its own."""
    command = [sys.executable, "-m", "cmbml", "completion", "bash"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def complete(folder, *words):
    """What bash offers for the last word."""
    call = (
        f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _shtab_cmbml; echo ${{COMPREPLY[@]}}"
    )
    done = subprocess.run(
        ["bash", "-c", f"{script()}\n{call}"], cwd=folder, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["cmbml", "st"], {"stages", "status"}),
        (["cmbml", "status", "--v"], {"--verify"}),
        (["cmbml", "run", "nilc_r"], {"nilc_regularised"}),
        (["cmbml", "run", "nilc", "--split", "te"], {"test"}),
        (["cmbml", "run", "comparison", "--method", "wi"], {"wiener"}),
        (["cmbml", "profile", "de"], {"demo"}),
        (["cmbml", "clean", "hilc"], {"hilc", "hilc_plain"}),
    ],
)
def test_bash_completes_commands_and_names(words, offered):
    # Below the root too: the repository is found upwards.
    assert complete(ROOT / "docs", *words) == offered


@pytest.mark.parametrize(
    "methods",
    [
        "methods: [nilc, hilc]  # two",
        "methods:\n- nilc  # one\n- 'hilc'",
        "methods:\n  - nilc\n  # two\n  - hilc",
        "methods: [\n  nilc,  # one\n  hilc,\n]",
    ],
)
def test_methods_are_completed_in_whatever_style_they_are_written(tmp_path, methods):
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "params.yaml").write_text(f"seed: 1\n{methods}\nmask: {{x: 1}}\nother:\n- a\n")
    assert complete(tmp_path, "cmbml", "run", "comparison", "--method", '""') == {"nilc", "hilc"}


@pytest.mark.parametrize("step", ["  ", "    "])
def test_splits_are_completed_in_whatever_style_they_are_written(tmp_path, step):
    (tmp_path / "dvc.yaml").touch()
    splits = f'{step}train: {{n_sims: 1}}\n{step}# hard\n{step}"test":\n{step}{step}n_sims: 1\n'
    (tmp_path / "params.yaml").write_text(f"seed: 1\nsplits:\n{splits}\nmask:\n{step}x: 1\n")
    assert complete(tmp_path, "cmbml", "run", "nilc", "--split", '""') == {"train", "test"}


def test_outside_of_a_repository_nothing_breaks(tmp_path):
    assert complete(tmp_path, "cmbml", "run", "nilc", "--split", "te") == set()


def test_zsh_has_a_script_too(capsys):
    main(["completion", "zsh"])
    said = capsys.readouterr().out
    assert said.startswith("#compdef cmbml")
    if shutil.which("zsh"):
        subprocess.run(["zsh", "-n"], input=said, text=True, check=True)


def test_every_argument_says_what_it_is():
    commands = _parser()._subparsers._group_actions[0].choices
    silent = [
        f"{name} {action.dest}"
        for name, command in commands.items()
        for action in command._actions
        if not action.help
    ]
    assert silent == []
