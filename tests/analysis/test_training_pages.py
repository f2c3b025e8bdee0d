"""The pages of a network in the report of a finished run."""

import pytest

from cmbml.core.plan.fingerprints import Plan
from cmbml.report.build import ReportBuilder
from tests.small_run import repository, run

TINY = {
    "methods": ["patch_nn"],
    "splits.shifted": {"n_sims": 1, "population": "dusty"},
    "analysis.n_bootstrap": 100,
    "patch_nn.epochs": 1,
    "patch_nn.init": 2,
    "patch_nn.depth": 1,
    "patch_nn.margin": 2,
    "patch_nn.patches_per_sim": 5,
}


@pytest.mark.long
def test_every_page_of_a_network_holds_its_training_curve(tmp_path):
    config = repository(tmp_path, **{key.replace(".", "__"): value for key, value in TINY.items()})
    (tmp_path / "dvc.yaml").touch()
    run(config)
    index = ReportBuilder(Plan(config)).build()
    pages = list(index.parent.glob("patch_nn--*.html"))
    assert len(pages) == len(config.splits)
    for page in pages:
        assert "Loss by epoch, stage patch_nn_training" in page.read_text(encoding="utf-8")
