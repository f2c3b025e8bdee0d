"""Commands that look back: where a file comes from, and whether the data are those of a commit."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from cmbml.core.engine.console import Add
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.views.compare import HEAD, compare
from cmbml.core.views.trace import diff_lines, trace_lines


def add_origins(add: Add, plan: Callable[[], Plan]) -> None:
    """Add the commands to the command line.

    Parameters
    ----------
    add
        Makes a subparser from name, function and description.
    plan
        Gives the plan of the repository at hand.
    """
    tracing = add("trace", _trace, "say where a file comes from, or why two files differ")
    tracing.add_argument("file", type=Path, help="a file of the dataset, or of metrics/ or plots/")
    tracing.add_argument("--diff", type=Path, metavar="OTHER", help="say why it differs from this file")
    tracing.add_argument("--cite", action="store_true", help="print the bibliography of what is behind it")
    comparing = add(
        "compare",
        lambda options: _compare(options, plan()),
        "say whether the data are those of a commit, a dvc.lock or a folder; ends with 1 where they differ",
    )
    comparing.add_argument(
        "against",
        nargs="?",
        default=HEAD,
        help="a commit, a dvc.lock, another clone or a copy of data/ (default: HEAD)",
    )


def _trace(options: argparse.Namespace) -> None:
    if options.cite:
        from cmbml.exchange.citations import bibliography

        print(bibliography(options.file), end="")
        return
    for line in diff_lines(options.file, options.diff) if options.diff else trace_lines(options.file):
        print(line)


def _compare(options: argparse.Namespace, plan: Plan) -> None:
    found = compare(plan, options.against)
    for line in found.lines():
        print(line)
    if not found.is_same:
        sys.exit(1)
