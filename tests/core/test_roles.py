"""Names on which code and pipeline files agree."""

import re

import pytest

from cmbml.analysis.reference import NOISE_FLOOR as NOISE_FLOOR_ROW
from cmbml.analysis.reference import PERFECT
from cmbml.core.engine.check import check_roles
from cmbml.core.errors import ProblemsError
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec import roles
from cmbml.core.spec.config import load_config
from cmbml.methods import registry
from tests.conftest import ROOT, copy_repository


def test_the_pipeline_that_ships_plays_every_role(real_config):
    check_roles(Plan(real_config))
    stages = real_config.pipeline.stages
    named = [role for role in vars(roles).values() if isinstance(role, roles.Role)]
    assert len(named) > 10
    assert all(role.output in stages[role.stage].assets_out for role in named)


def test_rows_of_tables_are_named_as_their_stages():
    assert (roles.NOISE_FLOOR.stage, roles.PERFECT_ESTIMATE.stage) == (NOISE_FLOOR_ROW, PERFECT)


def test_the_registry_lists_the_methods_of_the_pipeline(real_config):
    methods = {key for key, stage in real_config.pipeline.stages.items() if roles.CLEANED in stage.assets_out}
    assert methods - {NOISE_FLOOR_ROW, PERFECT, "gsc_unet_shipped"} == set(registry.NAMES)


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("analysis.yaml", "  draw_table:", "  draws_table:", "`cmbml report` reads draw_table.table: no stage 'draw_table' is switched on: did you mean 'draws_table'"),
        ("analysis.yaml", "      metrics: {", "      metric: {", "reads comparison.metrics: stage 'comparison' makes no 'metrics': did you mean 'metric'"),
    ],
)  # fmt: skip
def test_a_missing_role_is_named_with_its_consumer(tmp_path, file, old, new, said):
    copy_repository(tmp_path)
    path = tmp_path / "pipeline" / file
    text = path.read_text()
    assert old in text
    path.write_text(
        text.replace(old, new).replace(
            "{stage: comparison, orig_name: metrics}", "{stage: comparison, orig_name: metric}"
        )
    )
    with pytest.raises(ProblemsError, match=said):
        check_roles(Plan(load_config(tmp_path)))


def test_who_has_no_scores_wants_no_report(toy):
    check_roles(Plan(toy.config()))


def test_real_skies_alone_lack_nothing(tmp_path):
    """They have no truth, so nothing exports it."""
    copy_repository(tmp_path)
    path = tmp_path / "params.yaml"
    text = re.sub(
        r"\nsplits:\n(  .*\n)+", "\nsplits:\n  sky: {n_sims: 1, source: observed}\n", path.read_text()
    )
    path.write_text(re.sub(r"methods: .*", "methods: [nilc]", text))
    plan = Plan(load_config(tmp_path))
    assert "observed_sky" in plan.stages
    check_roles(plan)


@pytest.mark.parametrize("page", ["methods.md", "howto.md"])
def test_the_documents_know_every_method(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert [name for name in registry.NAMES if f"`{name}`" not in text] == []
