import json

from cmbml.core.plan.fingerprints import Plan
from cmbml.core.record.cost import costs_of


def test_every_stage_is_measured_and_only_as_it_now_is(toy):
    toy.edit("toy.py", "PAUSE = 0.0", "PAUSE = 0.05")
    toy.run("cmbml", "run")
    found = costs_of(Plan(toy.config()))
    assert {stage: one.n_pieces for stage, one in found.items()} == {"number": 12, "double": 12, "total": 4}
    assert 12 * 0.05 < found["number"].wall_s < 10
    # The processor has nothing to do while it sleeps.
    assert found["number"].cpu_s < found["number"].wall_s
    assert 10 < found["number"].peak_mb < 1000
    toy.edit("toy_math.py", "2 * x", "3 * x")
    assert set(costs_of(Plan(toy.config()))) == {"number", "total"}, "other code, other cost"


def test_nothing_of_it_is_versioned(toy):
    toy.run("cmbml", "run")
    (file,) = (toy.root / ".cmbml/cost").iterdir()
    assert len(json.loads(file.read_text().splitlines()[0])) == 6
    manifests = "".join(path.read_text() for path in (toy.root / "data").rglob("_manifest.jsonl"))
    assert "wall_s" not in manifests


def test_a_run_that_makes_nothing_is_not_counted(toy):
    toy.run("cmbml", "run")
    before = costs_of(Plan(toy.config()))
    toy.run("cmbml", "run")
    assert costs_of(Plan(toy.config())) == before


def test_without_a_record_there_is_none(toy):
    assert costs_of(Plan(toy.config())) == {}
