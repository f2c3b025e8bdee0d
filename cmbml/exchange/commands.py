"""Commands that bring data in and send it out: fetch."""

import argparse
from collections.abc import Callable

from cmbml.core.plan import Plan
from cmbml.core.repository import find_root

Add = Callable[[str, Callable[[argparse.Namespace], None], str], argparse.ArgumentParser]


def add_commands(add: Add, plan: Callable[[], Plan]) -> None:
    """Add the commands to the command line; `plan` gives the plan of the repository at hand."""
    _add_fetch(add("fetch", lambda options: _fetch(options, plan), "bring science assets, verified"))


def _add_fetch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "asset", nargs="*", help="names or patterns, such as 'planck_*'; by default what the pipeline reads"
    )
    parser.add_argument(
        "--list", action="store_true", help="say what there is, on which terms, and what is here"
    )
    parser.add_argument("--offline", action="store_true", help="verify what is here, without the network")
    parser.add_argument("--count", type=int, help="how many of a numbered asset, such as noise simulations")
    parser.add_argument("--jobs", type=int, default=4, help="files at a time (default: 4)")
    parser.add_argument("--mirror", metavar="ADDRESS", help="a copy of data/raw/ to ask first")


def _fetch(options: argparse.Namespace, plan: Callable[[], Plan]) -> None:
    from cmbml.exchange.catalogue import load_catalogue
    from cmbml.exchange.fetch import Fetcher, FetchOptions, list_lines, needed

    root = find_root()
    catalogue = load_catalogue(root)
    if options.list:
        print("\n".join(list_lines(root, catalogue)))
        return
    names = catalogue.choose(options.asset)
    files = [file for name in names for file in catalogue.files(name, options.count)]
    files = files or needed(plan(), catalogue)
    if not files:
        print("nothing to fetch: no stage that is switched on reads a science asset of the catalogue")
        return
    Fetcher(root, FetchOptions(options.jobs, options.offline, options.mirror)).fetch(files)
