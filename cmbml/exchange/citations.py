"""The bibliography of a file: what is behind the stages and science assets that it was made from, as BibTeX.

`RULES` is the one table of who is to be cited for what, `references.bib` holds the entries.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from cmbml.core.spec.catalogue import Source, load_catalogue
from cmbml.core.spec.repository import RAW
from cmbml.core.views.trace import Origin, ancestry, find_origin, flat
from cmbml.sky.foregrounds import PROCEDURAL

# What a stage's manifest says of it: code, packages, handlers, parameters.
Header = Mapping[str, Any]
Rule = tuple[Callable[[Header], bool], tuple[str, ...]]


def _package(name: str) -> Callable[[Header], bool]:
    return lambda header: name in header["packages"]


def _code(module: str) -> Callable[[Header], bool]:
    return lambda header: any(name.startswith(module) for name in header["code"])


def _handler(name: str) -> Callable[[Header], bool]:
    return lambda header: any(name == each[0] for used in header["handlers"].values() for each in used)


def _param(key: str, value: str | bool) -> Callable[[Header], bool]:
    return lambda header: _params(header).get(key) == value


def _params(header: Header) -> dict[str, Any]:
    return dict(flat(header["params"]))


def _instrument(name: str) -> Callable[[Header], bool]:
    return lambda header: Path(str(_params(header).get("instrument.table"))).stem.startswith(name)


def _pysm(header: Header) -> bool:
    """Whether templates of PySM are drawn: of the models of the population, or else of all."""
    values = _params(header)
    models = values.get("populations.models") or [values.get("foregrounds.model", "galaxy")]
    return "foregrounds.model" in values and not set(PROCEDURAL).issuperset(models)


def _polarised_galaxy(header: Header) -> bool:
    return _code("cmbml.sky.galaxy.polarisation")(header) and _param("instrument.fields", "TQU")(header)


def _lensed(header: Header) -> bool:
    return _code("cmbml.sky.lensing")(header) and _param("cmb.kind", "lensed")(header)


def _nulled(header: Header) -> bool:
    return any(key.endswith(".nulled") and value for key, value in _params(header).items())


RULES: tuple[Rule, ...] = (
    (lambda _: True, ("cmbml",)),
    (_package("numpy"), ("harris2020",)),
    (_package("scipy"), ("virtanen2020",)),
    (_package("astropy"), ("astropy2022",)),
    (_package("torch"), ("ansel2024",)),
    (_package("healpy"), ("gorski2005", "zonca2019")),
    (_handler("HealpyMap"), ("gorski2005",)),
    (_package("ducc0"), ("reinecke2020",)),
    (_package("camb"), ("lewis2000", "howlett2012")),
    (_param("cosmology.source", "planck2018"), ("planck2018_vi",)),
    (_param("cosmology.source", "wmap9"), ("hinshaw2013",)),
    (_lensed, ("lewis2005", "reinecke2023")),
    (_pysm, ("thorne2017", "zonca2021", "borrill2025")),
    (_param("extragalactic.sources", value=True), ("tucci2011",)),
    (_param("extragalactic.cib", value=True), ("mak2017", "maniyar2018")),
    (_param("extragalactic.tsz", value=True), ("bolliet2018",)),
    (_polarised_galaxy, ("vansyngel2017",)),
    (_param("noise.kind", "model"), ("baik2006",)),
    (_instrument("planck"), ("planck2018_i",)),
    (_instrument("litebird"), ("litebird2023",)),
    (_code("cmbml.methods.nilc"), ("delabrouille2009", "remazeilles2011")),
    (_code("cmbml.methods.hilc"), ("tegmark2003", "remazeilles2011")),
    (_code("cmbml.methods.wiener"), ("bunn1994",)),
    (_code("cmbml.methods.cmbnncs"), ("wang2022",)),
    (_code("cmbml.methods.gsc_unet"), ("ronneberger2015",)),
    (_code("cmbml.interfaces.pyilc"), ("mccarthy2024",)),
    (_nulled, ("remazeilles2011", "chluba2017")),
    (_code("cmbml.analysis.spectra.coupling"), ("hivon2002", "brown2005", "alonso2019")),
    (_code("cmbml.analysis.spectra.projection"), ("leistedt2013", "alonso2019")),
)
# Entries of the sources of science assets; other sources are cited in their own words.
SOURCES = {
    "planck_maps": ("planck2018_i", "planck2018_ii", "planck2018_iii"),
    "planck_cmb": ("planck2018_iv",),
    "planck_masks": ("planck2018_iv",),
    "planck_ffp10": ("planck2018_ii", "planck2018_iii"),
    "wmap9_chains": ("hinshaw2013", "bennett2013"),
    "pysm": ("thorne2017", "zonca2021", "borrill2025"),
}


def bibliography(file: Path) -> str:
    """BibTeX of everything behind a file of the dataset, or a number in it.

    Raises
    ------
    DataError
        Where no manifest knows the file.
    """
    origins, assets = ancestry(find_origin(file))
    entries = references()
    keys = {key for origin in origins for key in _keys_of(origin.header)}
    own_words = {}
    for name, source in _sources(origins[0], assets):
        keys |= set(SOURCES.get(name, ()))
        if name not in SOURCES:
            own_words[name] = _in_own_words(name, source)
    return "\n".join([entries[key] for key in sorted(keys)] + [own_words[name] for name in sorted(own_words)])


def references() -> dict[str, str]:
    """Entries of `references.bib` by their keys."""
    text = (files("cmbml.exchange") / "references.bib").read_text(encoding="utf-8")
    entries = re.split(r"^(?=@)", text, flags=re.MULTILINE)[1:]
    return {entry[entry.index("{") + 1 : entry.index(",")]: entry.strip() + "\n" for entry in entries}


def _keys_of(header: Header) -> set[str]:
    return {key for applies, keys in RULES if applies(header) for key in keys}


def _sources(origin: Origin, assets: list[str]) -> Iterator[tuple[str, Source]]:
    catalogue = load_catalogue(origin.folder.root)
    owners = {catalogue.owner(place.removeprefix(f"{RAW}/")) for place in assets}
    for name in {catalogue.science_assets[owner].source for owner in owners if owner}:
        yield name, catalogue.sources[name]


def _in_own_words(name: str, source: Source) -> str:
    title, note = (re.sub(r"([&%#_$])", r"\\\1", text) for text in (source.title, source.citation))
    return f"@misc{{{name},\n  title = {{{title}}},\n  note = {{{note}}},\n}}\n"
