"""What is said of a dataset's foregrounds, in its card and its report."""

import pytest

from cmbml.core.spec.config import load_config
from cmbml.exchange.card import _limits
from cmbml.report.index import _foregrounds
from cmbml.sky.foreground_facts import foreground_facts, foreground_limits, foreground_summary
from tests.conftest import ROOT


def parameters(overrides):
    return load_config(ROOT, overrides=overrides).params


PROCEDURAL = "The Galaxy{} is procedural ({}): like the real one in its statistics, not in its places."
PYSM = "The foregrounds{} are PySM 3's ({}): all of these simulations have the same templates."
GALAXY = "procedural galaxy (galaxy)"
LAYERED = {"splits.shifted.population": "other_foregrounds"}
MIXED = {"populations.dusty.models": ["galaxy", "pysm3", "d10+s5"]}
REAL = {"splits.real": {"n_sims": 1, "source": "observed"}}


@pytest.mark.parametrize(
    ("overrides", "summary", "limits"),
    [
        ({}, "procedural galaxy (galaxy)", [PROCEDURAL.format("", "galaxy")]),
        (
            {"foregrounds.model": "layered"},
            "procedural galaxy (layered)",
            [PROCEDURAL.format("", "layered")],
        ),
        (
            {"foregrounds.model": "pysm3"},
            "PySM 3 (d1, s1, f1, a1)",
            [PYSM.format("", "d1, s1, f1, a1")],
        ),
        ({"foregrounds.model": "d10+s5"}, "PySM 3 (d10, s5)", [PYSM.format("", "d10, s5")]),
        (
            {"foregrounds.model": "pysm3", **LAYERED},
            "train, valid, test: PySM 3 (d1, s1, f1, a1); shifted: procedural galaxy (layered)",
            [
                PROCEDURAL.format(" of shifted", "layered"),
                PYSM.format(" of train, valid, test", "d1, s1, f1, a1"),
            ],
        ),
        (
            LAYERED,
            "train, valid, test: procedural galaxy (galaxy); shifted: procedural galaxy (layered)",
            [PROCEDURAL.format("", "galaxy, layered")],
        ),
        (
            MIXED,
            f"train, valid, test: {GALAXY}; shifted: {GALAXY} or PySM 3 (d1, s1, f1, a1) or PySM 3 (d10, s5)",
            [
                PROCEDURAL.format(" of train, valid, test, some simulations of shifted", "galaxy"),
                PYSM.format(" of some simulations of shifted", "d1, s1, f1, a1, d10, s5"),
            ],
        ),
        (
            REAL,
            "train, valid, test, shifted: procedural galaxy (galaxy); real: not simulated here",
            [PROCEDURAL.format(" of train, valid, test, shifted", "galaxy")],
        ),
    ],
)
def test_report_and_card_say_what_the_foregrounds_of_every_split_are(overrides, summary, limits):
    params = parameters(overrides)
    assert _foregrounds(params) == summary
    assert list(_limits(params))[: len(limits)] == limits


def test_report_and_card_say_what_lies_beyond_the_galaxy():
    params = parameters({"extragalactic.cib": True, "extragalactic.sources": True})
    assert _foregrounds(params) == f"{GALAXY}; beyond it radio sources, infrared background"
    assert any(line.startswith("Beyond the Galaxy: radio sources, infrared") for line in _limits(params))


def test_nothing_is_said_of_a_galaxy_that_is_not_simulated_here():
    imported = foreground_facts({"train": ()}, ["d1"])
    assert foreground_summary(imported) == "not simulated here"
    assert list(foreground_limits(imported)) == []
