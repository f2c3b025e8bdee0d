"""The bibliography of a file: valid BibTeX of what its tree of inputs really used."""

import json
import re

import pytest

from cmbml.core.spec.repository import MANIFEST
from cmbml.exchange.citations import RULES, SOURCES, bibliography, references
from cmbml.methods.registry import METHODS

KEY = r"@(\w+)\{([\w:]+),\n"
FIELD = r"(\w+) = \{"


def entries(text):
    """Parse BibTeX, simply: kind and fields by key; anything between the entries is an error."""
    found = {}
    while text := text.lstrip():
        head = re.match(KEY, text)
        assert head, text[:80]
        end = closing(text, text.index("{"))
        assert head[2] not in found
        found[head[2]] = {"kind": head[1], **fields(text[head.end() : end])}
        text = text[end + 1 :]
    return found


def fields(text):
    found = {}
    while text := text.strip(" ,\n"):
        head = re.match(FIELD, text)
        assert head, text[:80]
        end = closing(text, head.end() - 1)
        found[head[1]] = text[head.end() : end]
        text = text[end + 1 :]
    return found


def closing(text, start):
    """Place of the brace that closes the one at `start`."""
    depth = 0
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return place
    raise AssertionError(f"an open brace: {text[start : start + 80]}")


def header(**said):
    return {"packages": {}, "code": {}, "handlers": {}, "params": {}, **said}


NILC = header(
    packages={"numpy": "2.4", "ducc0": "0.42"},
    code={"cmbml.methods.nilc.nilc": "1"},
    handlers={"in obs": [["HealpyMap", 1]]},
    params={"nilc": {"nulled": []}},
)
OBSERVATIONS = header(packages={"pysm3": "3.4", "healpy": "1.20"}, params={"instrument": {"table": "planck"}})
DRAWS = header(params={"foregrounds": {"model": "galaxy"}, "populations": {"models": None}})
PYSM = header(params={"foregrounds": {"model": "galaxy"}, "populations": {"models": ["d1+s1"]}})
THEORY = header(packages={"camb": "2.0"})
NETWORK = header(packages={"torch": "2.13"}, code={"cmbml.methods.cmbnncs.network": "1"})


@pytest.fixture
def tree(tmp_path):
    """Manifests of stages in a row; each reads the one before, and the last a science asset."""
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline/raw.yaml").write_text(
        "sources:\n"
        "  wmap9_chains: {title: T, licence: L, citation: C, addresses: ['https://example.org/{file}']}\n"
        "  mine: {title: Dust & gas, licence: L, citation: Me 2026, addresses: ['https://example.org/{file}']}\n"
        "science_assets:\n"
        "  chain: {source: wmap9_chains, files: [chain], path: 'chains/{file}'}\n"
        "  dust: {source: mine, files: [dust], path: 'mine/{file}'}\n"
    )

    def make(*headers, raw):
        reads = {"raw": raw}
        for place, stage in enumerate(headers):
            folder = f"data/toy/s{place}"
            write(tmp_path / folder, stage, reads, place)
            reads = {"made": [folder]}
        return tmp_path / folder / "file.txt"

    return make


def write(folder, stage, reads, place):
    folder.mkdir(parents=True)
    about = {"recipe": "r", "stage": f"s{place}", "reads": reads, "settings": {}, "declared": {}, **stage}
    fact = {"sim": None, "fingerprint": f"f{place}", "recipe": "r", "identity": [None] * 4}
    fact |= {"inputs": dict.fromkeys(reads, f"f{place - 1}"), "files": {"file.txt": [1, "x"]}}
    (folder / MANIFEST).write_text(f"{json.dumps(about)}\n{json.dumps(fact)}\n")


def test_what_was_used_is_cited_and_nothing_else(tree):
    found = entries(bibliography(tree(DRAWS, THEORY, OBSERVATIONS, NILC, raw=["data/raw/chains/chain"])))
    assert set(found) == {
        "cmbml", "harris2020", "reinecke2020", "lewis2000", "howlett2012", "gorski2005", "zonca2019",
        "planck2018_i", "delabrouille2009", "remazeilles2011", "hinshaw2013", "bennett2013",
    }  # fmt: skip
    assert found["delabrouille2009"]["eprint"] == "0807.0773"


def test_networks_templates_and_sources_of_ones_own(tree):
    found = entries(bibliography(tree(PYSM, NETWORK, raw=["data/raw/mine/dust", "data/raw/other"])))
    assert {"ansel2024", "wang2022", "thorne2017", "mine"} <= set(found)
    assert found["mine"] == {"kind": "misc", "title": r"Dust \& gas", "note": "Me 2026"}


def test_all_entries_are_whole_and_of_use():
    found = entries("\n".join(references().values()))
    assert all({"author", "title"} <= set(entry) for entry in found.values())
    used = {key for _, keys in RULES for key in keys} | {key for keys in SOURCES.values() for key in keys}
    assert used == set(found)


def test_every_method_of_others_is_cited():
    cited = {
        key: any(
            applies(header(code={f"cmbml.methods.{key}.executors:X": "1"}))
            for applies, keys in RULES
            if "cmbml" not in keys
        )
        for key in ("nilc", "hilc", "wiener", "gsc_unet", "cmbnncs")
    }
    assert all(cited.values())
    assert {name.name.removesuffix("_plain").removesuffix("_regularised") for name in METHODS} == {
        *cited,
        "pyilc",
        "patch_nn",
    }


def test_the_command_prints_it(toy, tree, tmp_path):
    file = tree(THEORY, raw=[])
    assert "@article{lewis2000," in toy.cmbml("trace", "--cite", str(file)).stdout
