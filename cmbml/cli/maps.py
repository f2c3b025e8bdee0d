"""Commands for maps of one's own: clean, score."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from cmbml.cli.options import number
from cmbml.core.engine.console import Add
from cmbml.core.errors import ConfigError
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.numbers import Count, Fwhm, FwhmOrNone, Lmax
from cmbml.methods.registry import NAMES


def add_map_commands(add: Add, plan: Callable[[], Plan]) -> None:
    """Add the commands to the command line.

    Parameters
    ----------
    add
        Makes a subparser from name, function and description.
    plan
        Gives the plan of the repository at hand.
    """
    _add_clean(add("clean", _clean, "clean maps of any instrument with one method, without the pipeline"))
    _add_score(
        add("score", lambda options: _score(options, plan()), "score maps made elsewhere, beside ours")
    )


def _add_clean(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("method", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--maps", required=True, help="maps of the bands, as 'obs_{freq}.fits'")
    parser.add_argument("--instrument", default="", help="name of an instrument that ships, or an ECSV table")
    parser.add_argument(
        "--fwhm", required=True, type=number(Fwhm), help="FWHM of the result's Gaussian beam, arcmin"
    )
    parser.add_argument("--lmax", required=True, type=number(Lmax), help="band-limit of the result")
    parser.add_argument("--out", required=True, type=Path, help="the cleaned map; other files lie beside it")
    parser.add_argument("--model", type=Path, help="what the method's stage has learned")
    parser.add_argument("--bands", default="", help="bands to use, as 100,143,217 (default: all)")
    parser.add_argument("--mask", type=Path, help="map of weights; no pixel is used where it is below 0.5")
    parser.add_argument("--fields", choices=["T", "TQU"], default="T", help="Stokes fields to clean")
    parser.add_argument("--unit", help="unit of the maps, where their headers do not say")
    parser.add_argument("--pixwin", action="store_true", help="take the pixel window out, as real maps need")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the method"
    )
    parser.add_argument(
        "--component",
        action="append",
        default=[],
        metavar="NAME=MAPS",
        help="maps that go through the same weights, as noise='noise_{freq}.fits'",
    )
    parser.add_argument("--threads", type=number(Count), default=2, help="number of threads (default: 2)")


def _add_score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--maps", required=True, help="your maps, as 'pred_{sim}.fits'")
    parser.add_argument("--split", required=True, help="split whose truth they estimate")
    parser.add_argument(
        "--fwhm",
        type=number(FwhmOrNone),
        help="FWHM of the Gaussian beam in them, arcmin, where the headers do not say",
    )
    parser.add_argument("--lmax", type=number(Lmax), help="their band-limit, where the headers do not say")
    parser.add_argument("--unit", help="their unit, where the headers do not say: K_CMB, mK_CMB or uK_CMB")
    parser.add_argument("--name", required=True, help="name of the row in the tables")


def _clean(options: argparse.Namespace) -> None:
    """Clean the user's maps and say what was written."""
    from cmbml.clean.dispatch import clean
    from cmbml.clean.request import Order

    order = Order(
        method=options.method,
        maps=options.maps,
        instrument=options.instrument,
        fwhm_arcmin=options.fwhm,
        lmax=options.lmax,
        out=options.out,
        model=options.model,
        bands=[name for name in options.bands.split(",") if name],
        mask=options.mask,
        settings=_pairs("--set", options.set),
        unit=options.unit,
        pixwin=options.pixwin,
        fields=options.fields,
        components=_pairs("--component", options.component),
        threads=options.threads,
    )
    paths, warnings = clean(order, Path.cwd())
    for line in warnings:
        print(f"warning: {line}", file=sys.stderr)
    for path in paths:
        print(path)


def _pairs(option: str, given: list[str]) -> dict[str, str]:
    for pair in given:
        if "=" not in pair:
            raise ConfigError(f"{option} {pair}: expected a name, '=' and a value")
    return {name: value for name, _, value in (pair.partition("=") for pair in given)}


def _score(options: argparse.Namespace, plan: Plan) -> None:
    """Score the user's maps and print them beside ours."""
    from cmbml.report.build import leaderboard
    from cmbml.report.submissions import Submission, score_submission

    submission = Submission(
        options.name, options.maps, options.split, options.fwhm, options.lmax, options.unit
    )
    score_submission(plan, submission, Path.cwd())
    print(leaderboard(plan, submission.split))
