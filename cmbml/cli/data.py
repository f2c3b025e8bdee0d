"""Commands that bring data in and send it out: fetch, push, pull, card, export, import."""

import argparse
from collections.abc import Callable
from pathlib import Path

from cmbml.cli.options import number
from cmbml.core.engine.console import Add
from cmbml.core.engine.dvc import run_dvc
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.numbers import Count, Positive
from cmbml.core.spec.repository import find_root


def add_commands(add: Add, plan: Callable[[], Plan]) -> None:
    """Add the commands to the command line.

    Parameters
    ----------
    add
        Makes a subparser from name, function and description.
    plan
        Gives the plan of the repository at hand.
    """
    _add_fetch(add("fetch", lambda options: _fetch(options, plan), "bring science assets, verified"))
    sending = "publish the dataset, or parts of it, with `dvc push`"
    _add_parts(add("push", lambda options: _exchange(options, plan(), "push"), sending))
    getting = "get the dataset, or parts of it, with `dvc pull`"
    _add_parts(add("pull", lambda options: _exchange(options, plan(), "pull"), getting))
    _add_export(add("export", lambda options: _export(options, plan()), "write a dataset for use elsewhere"))
    _add_import(add("import", _import, "register a dataset of others, to be cleaned and scored here"))
    add("card", lambda _: _card(plan()), "write the card of the dataset: what, how, terms, sizes, limits")


def _add_fetch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "asset", nargs="*", help="names or patterns, such as 'planck_*'; by default what the pipeline reads"
    )
    parser.add_argument(
        "--list", action="store_true", help="say what there is, on which terms, and what is here"
    )
    parser.add_argument("--offline", action="store_true", help="verify what is here, without the network")
    parser.add_argument(
        "--count", type=number(Count), help="how many of a numbered asset, such as noise simulations"
    )
    parser.add_argument("--jobs", type=number(Count), default=4, help="files at a time (default: 4)")
    parser.add_argument("--mirror", metavar="ADDRESS", help="a copy of data/raw/ to ask first")


def _fetch(options: argparse.Namespace, plan: Callable[[], Plan]) -> None:
    from cmbml.core.spec.catalogue import load_catalogue
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


def _add_parts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("stage", nargs="*", help="keys of stages; by default, all of them")
    parser.add_argument("--split", help="only this split")
    parser.add_argument("--sims", help="only these simulations: 3, or 0:10 for the first ten")
    parser.add_argument("--remote", help="name of the DVC remote; by default the default one")
    parser.add_argument("--jobs", type=number(Count), help="transfers at a time")


def _exchange(options: argparse.Namespace, plan: Plan, verb: str) -> None:
    from cmbml.exchange.publish import gathered, targets
    from cmbml.exchange.simulations import pull_files

    root = plan.config.root
    wanted = targets(plan, options.stage, options.split, options.sims)
    if verb == "pull" and options.sims is not None:
        came = pull_files(root, wanted, remote=options.remote, jobs=options.jobs)
        print(f"{came} files came; what was here stayed as it was")
        return
    extra = [f"--{name}={value}" for name in ("remote", "jobs") if (value := getattr(options, name))]
    with gathered(root, wanted) as arguments:
        run_dvc(root, verb, *extra, *arguments)


def _card(plan: Plan) -> None:
    from cmbml.exchange.card import write_card
    from cmbml.exchange.croissant import write_croissant

    for write in (write_card, write_croissant):
        print(f"wrote {write(plan)}")


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "form", choices=("cmb-ml", "webdataset"), help="plain FITS under CMB-ML's names, or shards"
    )
    parser.add_argument("--into", type=Path, required=True, help="a folder that is empty or not there")
    parser.add_argument("--split", action="append", default=[], help="only this split; may be repeated")
    parser.add_argument("--method", action="append", default=[], help="its cleaned maps too; may be repeated")
    parser.add_argument(
        "--shard-mb", type=number(Positive), default=500.0, help="size of a shard (default: 500)"
    )


def _export(options: argparse.Namespace, plan: Plan) -> None:
    from cmbml.exchange.export import Exporter, Selection, export_fits, export_shards

    selection = Selection(options.into.resolve(), tuple(options.split), tuple(options.method))
    exporter = Exporter(plan, selection)
    if options.form == "cmb-ml":
        print(f"{options.into}: {export_fits(exporter)} files")
        return
    print(f"{options.into}: {len(export_shards(exporter, int(options.shard_mb * 1e6)))} shards")


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("form", choices=("cmb-ml",), help="CMB-ML's: a tar archive for each simulation")
    parser.add_argument("folder", type=Path, help="where the archives lie; they stay there")
    parser.add_argument(
        "--name", default="cmb-ml", help="name of the dataset and its profile (default: cmb-ml)"
    )


def _import(options: argparse.Namespace) -> None:
    from cmbml.exchange.cmb_ml import register

    profile = register(find_root(), options.folder, options.name)
    print(f"wrote {profile}: `cmbml profile {options.name}`, then `make run`")
