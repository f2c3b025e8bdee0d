"""Commands for maps of one's own: inspect, clean, score."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from cmbml.cli.options import number
from cmbml.core.engine.console import Add
from cmbml.core.errors import ConfigError
from cmbml.core.handlers.cards import Told
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.numbers import Count, Fwhm, FwhmOrNone, Lmax
from cmbml.methods.registry import NAMES

_READING = ("unit", "coord", "polconv", "hdu", "column", "field", "missing")


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
    _add_inspect(add("inspect", _inspect, "say what files of maps hold, and what would be assumed"))
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
    _add_reading(parser)
    parser.add_argument("--mask-column", metavar="COLUMN", help="column of the mask, by name")
    parser.add_argument("--mask-hdu", metavar="HDU", help="table of the mask")
    parser.add_argument("--mask-coord", help="coordinates of the mask, where not --coord's")
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
    parser.add_argument(
        "--check-response", action="store_true", help="send a second CMB through, and say how much is kept"
    )
    parser.add_argument("--threads", type=number(Count), default=2, help="number of threads (default: 2)")


def _add_reading(parser: argparse.ArgumentParser) -> None:
    """Options for what the headers of maps leave open."""
    parser.add_argument("--unit", help="unit of the maps, where their headers do not say, as mK_CMB")
    parser.add_argument("--coord", help="their coordinates, G, C or E; C and E are rotated to G")
    parser.add_argument("--polconv", help="their sign of U, COSMO or IAU; IAU is turned to COSMO")
    parser.add_argument("--hdu", help="the table to read, by number from 0 or by name")
    parser.add_argument("--column", help="the column to read, by name, or three as I,Q,U")
    parser.add_argument("--field", help="the column to read, by number from 0, or three as 0,1,2")
    parser.add_argument("--missing", help="nan: NaN is a missing pixel")
    parser.add_argument("--pixwin", action="store_true", help="the pixel window is in them, as in real maps")


def _told(options: argparse.Namespace, names: Sequence[str] = _READING, prefix: str = "") -> Told:
    """What the options say of maps."""
    told = {name: value for name in names if (value := getattr(options, prefix + name)) is not None}
    return cast("Told", told)


def _told_of_files(options: argparse.Namespace) -> Told:
    """What the options say to a reader of files."""
    return {**_told(options), "pixwin": options.pixwin or None, "way": "command"}


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="+", type=Path, help="files of maps")
    parser.add_argument("--out", type=Path, metavar="PNG", help="draw them")
    _add_reading(parser)


def _add_score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--maps", required=True, help="your maps, as 'pred_{sim}.fits'")
    parser.add_argument("--split", required=True, help="split whose truth they estimate")
    parser.add_argument(
        "--fwhm",
        type=number(FwhmOrNone),
        help="FWHM of the Gaussian beam in them, arcmin, where the headers do not say",
    )
    parser.add_argument("--lmax", type=number(Lmax), help="their band-limit, where the headers do not say")
    _add_reading(parser)
    parser.add_argument("--name", required=True, help="name of the row in the tables")
    parser.add_argument("--all", action="store_true", help="print every score, not the leading four")


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
        bands=[name for each in options.bands.split(",") if (name := each.strip())],
        mask=options.mask,
        settings=_pairs("--set", options.set),
        pixwin=options.pixwin,
        fields=options.fields,
        components=_pairs("--component", options.component),
        check_response=options.check_response,
        threads=options.threads,
        told=_told(options),
        told_of_mask=_told(options, ("column", "hdu", "coord"), "mask_"),
    )
    done = clean(order, Path.cwd())
    for line in done.warnings:
        print(f"warning: {line}", file=sys.stderr)
    _say(done.assumed)
    if done.response:
        print(f"response: {done.response}", file=sys.stderr)
    for path in done.paths:
        print(path)


def _say(assumed: Sequence[str]) -> None:
    for line in assumed:
        print(f"assumed: {line}", file=sys.stderr)


def _pairs(option: str, given: list[str]) -> dict[str, str]:
    for pair in given:
        if "=" not in pair:
            raise ConfigError(f"{option} {pair}: expected a name, '=' and a value")
    names = [pair.partition("=")[0] for pair in dict.fromkeys(given)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"{option} {twice}: has two values: leave one out")
    if wrong := next((name for name in names if not re.fullmatch(r"[\w.-]+", name)), None):
        raise ConfigError(f"{option} {wrong}: a name has letters, digits, ., - and _ only")
    return {name: value for name, _, value in (pair.partition("=") for pair in given)}


def _inspect(options: argparse.Namespace) -> None:
    """Say what files hold, and draw them."""
    from cmbml.core.files.outputs import expect_writable
    from cmbml.report.inspection import draw, inspect

    if options.out is not None:
        expect_writable([options.out], options.file)
    told = _told_of_files(options)
    seen = []
    for path in options.file:
        seen.append(inspect(path, told))
        print("\n  ".join([f"{path}:", *seen[-1].lines]))
    if options.out is not None:
        draw(seen, options.out)
        print(options.out)


def _score(options: argparse.Namespace, plan: Plan) -> None:
    """Score the user's maps and print them beside ours."""
    from cmbml.report.build import leaderboard
    from cmbml.report.submissions import Submission, score_submission

    told = _told_of_files(options)
    submission = Submission(options.name, options.maps, options.split, options.fwhm, options.lmax, told)
    _say(score_submission(plan, submission, Path.cwd()))
    print(leaderboard(plan, submission.split, every=options.all))
