"""The card of a dataset: what it is, how it was made, its licence, sizes, checksums and known limits.

It is written from the parameters and the manifests alone, so the same data give the same bytes.
"""

from collections.abc import Iterator
from pathlib import Path

from cmbml.core.errors import DataError
from cmbml.core.handlers.base import temporary_path
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.plan.pieces import Portion
from cmbml.core.spec.catalogue import Source, load_catalogue
from cmbml.core.spec.params import Params
from cmbml.core.spec.repository import MANIFEST
from cmbml.core.spec.yamlio import dump_yaml
from cmbml.core.views.trace import Folder
from cmbml.sky.foreground_facts import extragalactic_summary, foreground_facts, foreground_limits

CARDS = "cards"
ABOUT = (
    "Simulated skies of the cosmic microwave background as a telescope sees them, the truth behind them, "
    "and what methods of foreground cleaning make of them."
)
_SHOWN = ("cosmology", "cmb", "foregrounds", "noise", "mask", "populations")


def write_card(plan: Plan) -> Path:
    """Write the card of the dataset at hand, which must be complete.

    Raises
    ------
    DataError
        Where a part of it was never made.
    """
    return write_text(card_path(plan, ".md"), "\n".join([*card_lines(plan), ""]))


def card_path(plan: Plan, suffix: str) -> Path:
    """Where a card of the dataset at hand lies."""
    return plan.config.root / CARDS / f"{plan.config.dataset}{suffix}"


def write_text(path: Path, text: str) -> Path:
    """Write a card, whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    unfinished = temporary_path(path)
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
    return path


def card_lines(plan: Plan) -> Iterator[str]:
    """Lines of the card, in Markdown."""
    params = plan.config.params
    parts = folders_of(plan)
    yield f"# Dataset {plan.config.dataset}"
    yield ""
    yield ABOUT
    yield from _section("What", _what(plan))
    yield from _section("How it was made", _how(plan, parts))
    yield from _section("Licence and citation", _terms(plan))
    yield from _section("Content", _content(parts))
    yield from _section("Known limits", (f"- {line}" for line in _limits(params)))


def _section(title: str, lines: Iterator[str]) -> Iterator[str]:
    yield from ("", f"## {title}", "", *lines)


def folders_of(plan: Plan) -> list[tuple[Portion, Folder]]:
    """All out directories of the dataset.

    Raises
    ------
    DataError
        Where one was never made.
    """
    portions = [portion for stage in plan.stages.values() for portion in plan.portions(stage)]
    return [(portion, _folder(plan, portion)) for portion in portions]


def _folder(plan: Plan, portion: Portion) -> Folder:
    name = plan.folder(portion).relative_to(plan.config.root).as_posix()
    if not (plan.config.root / name / MANIFEST).is_file():
        raise DataError(f"{name}: not complete, so it has no card yet: run `make run`, or `cmbml pull`")
    return Folder(plan.config.root, name)


def _what(plan: Plan) -> Iterator[str]:
    instrument = plan.config.params.instrument
    yield "| split | simulations | population | random stream |"
    yield "|---|---|---|---|"
    for split in plan.config.splits.values():
        yield f"| {split.name} | {split.n_sims} | {split.population} | {split.stream} |"
    yield ""
    yield (
        f"HEALPix maps in RING order, Galactic coordinates, uK_CMB, float32: nside {instrument.nside}, "
        f"band-limit {instrument.lmax}, fields {instrument.fields}."
    )
    yield ""
    yield "| band | GHz | beam FWHM, arcmin | depth, uK_CMB arcmin |"
    yield "|---|---|---|---|"
    for name, band in instrument.bands.items():
        yield f"| {name} | {band.freq_ghz} | {band.fwhm_arcmin} | {band.depth_uk_arcmin} |"


def _how(plan: Plan, parts: list[tuple[Portion, Folder]]) -> Iterator[str]:
    packages: dict[str, str] = {}
    for _, folder in parts:
        packages |= folder.header["packages"]
    params = plan.config.params
    yield f"Seed {params.seed}. Methods: {', '.join(params.methods) or 'none'}. Remake it with `make run`."
    yield f"Packages: {', '.join(f'{name} {version}' for name, version in sorted(packages.items()))}."
    yield ""
    shown = params.model_dump(mode="json", exclude_none=True)
    yield from ("```yaml", dump_yaml({key: shown[key] for key in _SHOWN if key in shown}).rstrip(), "```")
    yield ""
    yield "Every folder's `_manifest.jsonl` has the recipe of its files; `cmbml trace FILE` follows one back."


def _terms(plan: Plan) -> Iterator[str]:
    yield "Code and simulated data: MIT licence, see LICENSE; cite as CITATION.cff says."
    for name, source in sorted(sources_of(plan).items()):
        yield f"Derives from {source.title} ({name}). Licence: {source.licence}. Cite: {source.citation}."


def sources_of(plan: Plan) -> dict[str, Source]:
    """Sources of the science assets that the dataset was made from."""
    from cmbml.exchange.fetch import needed

    catalogue = load_catalogue(plan.config.root)
    owners = {catalogue.owner(file.key) for file in needed(plan, catalogue)}
    names = {catalogue.science_assets[owner].source for owner in owners if owner}
    return {name: catalogue.sources[name] for name in names}


def _content(parts: list[tuple[Portion, Folder]]) -> Iterator[str]:
    yield "| folder | files | bytes | md5, as DVC has it |"
    yield "|---|---|---|---|"
    total = 0
    for _, folder in parts:
        sizes = [size for fact in folder.facts for size, _ in fact.files.values()]
        total += sum(sizes)
        yield f"| {folder.name} | {len(sizes)} | {sum(sizes)} | {folder.dvc_md5()} |"
    yield ""
    yield f"{total} bytes in all, manifests not counted. `dvc.lock` has the same checksums."


def _limits(params: Params) -> Iterator[str]:
    yield from foreground_limits(foreground_facts(params.foreground_models(), params.foregrounds.presets))
    if beyond := extragalactic_summary(params.extragalactic.switched_on):
        yield f"Beyond the Galaxy: {beyond}; sources are not clustered, and no component knows of another."
    if params.cmb.kind == "gaussian":
        yield "The CMB is a Gaussian draw from lensed spectra: it has no lensing correlations."
    if params.instrument.fields == "T":
        yield "Temperature only."
    yield "Beams are Gaussian and round; no pixel window is in the maps unless the header says so."
    yield f"Noise: {params.noise.kind}; no systematics of an instrument, no glitches, no bandpass mismatch."
    yield "Nothing lies above the band-limit; do not draw conclusions beyond it."
    yield (
        "Numbers are computed for x86-64 with AVX2 and FMA wherever a processor has them. Elsewhere, scores "
        "of linear methods agree to 1e-9, those of networks that are trained there to between 3e-6 and 5e-2."
    )
