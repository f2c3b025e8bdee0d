"""What code reads and its text does not show: refused until the stage declares it, and then it counts."""

import os
import re
import shutil

import pytest

from cmbml.core.engine.check import check_plan
from cmbml.core.engine.dvc import dvc_yaml
from cmbml.core.engine.make import Engine
from cmbml.core.engine.undeclared import undeclared
from cmbml.core.errors import CmbmlError, UndeclaredError
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.config import load_config
from tests.conftest import ROOT

EXECUTOR = """
from cmbml.core import BaseStageExecutor
{before}

class X(BaseStageExecutor):
    def __init__(self, cfg):
        super().__init__(cfg, stage_str="x")
        self.out = self.assets_out["x"]

    def {walk}:
        self.out.write(str({value}))
"""
STAGE = """
stages:
  x:
    executor: toy.X
    dir_name: x
    assets_out:
      x: {{handler: Text, path_template: "{{root}}/{{dataset}}/{{stage}}/{place}x.txt"}}
"""
PLACES = {
    "process_sim(self, split, sim)": "{split}/{sim}/",
    "process_split(self, split)": "{split}/",
    "execute(self)": "",
}


@pytest.fixture
def one(toy):
    """Write a stage that writes one value; its plan."""

    def write(value, before="", *declared, walk="process_sim(self, split, sim)", **files):
        lines = "".join(f"    {line}\n" for line in declared)
        toy.write("pipeline/toy.yaml", STAGE.format(place=PLACES[walk]) + lines)
        for name, text in files.items():
            toy.write(f"{name}.py", text)
        toy.write("toy.py", "")
        toy.edit("toy.py", "", EXECUTOR.format(value=value, before=before, walk=walk))
        return Plan(toy.config())

    return write


def refused(plan):
    return [str(error) for error in undeclared(plan, plan.stages["x"])]


def print_of(plan):
    return plan.fingerprint(plan.pieces(plan.portions(plan.stages["x"])[0])[0])


@pytest.mark.parametrize(
    ("before", "value", "said"),
    [
        ("import os", "os.environ['KNOB']", r"toy.py:11 reads the environment variable KNOB, .*: add 'KNOB' to 'environment'"),
        ("import os as o", "o.environ.get('KNOB', '1')", "KNOB"),
        ("from os import getenv as g", "g('KNOB')", "KNOB"),
        ("from os import environ", "'KNOB' in environ", "KNOB"),
        ("import os\nNAME = 'KNOB'", "os.environ[NAME]", "KNOB"),
        ("import os", "getattr(os, 'environ')['KNOB']", "KNOB"),
        ("import os", "__import__('os').environ['KNOB'] and os.getenv(self.name)", "the environment as a whole"),
        ("import os\nE = os.environ", "E['KNOB']", "the environment as a whole"),
        ("import os", "dict(os.environ)", "the environment as a whole"),
        ("from toy_m import environ", "environ['KNOB']", "KNOB"),
        ("import toy_m", "toy_m.f()", r"toy_m.py:3 reads the environment variable DEEP"),
        ("", "open('table.json').read()", r"opens a file \(open\).*`NAME: PATH` to 'files'.*self.files\[\"NAME\"\]$"),
        ("from pathlib import Path", "(Path(__file__).parent / 't').read_text()", r"opens a file \(read_text\)"),
        ("import numpy as np", "np.load(self.path)", r"opens a file \(numpy.load\).*`files: \{\}`"),
        ("from numpy import loadtxt", "loadtxt(self.path)", "numpy.loadtxt"),
        ("from astropy.io import fits", "fits.open(self.path)", "astropy.io.fits.open"),
        ("import healpy as hp", "hp.read_map(self.path)", "healpy.read_map"),
        ("import torch", "torch.load(self.path)", "torch.load"),
        ("import os", "os.listdir('tables')", "os.listdir"),
        ("", "self.path.open().read()", r"\(open\)"),
        ("from cmbml.core.handlers import get_handler", "get_handler('Text').read('t.txt')", r"\(read\)"),
        ("from cmbml.core.handlers.healpix import HealpyMap", "HealpyMap().read(self.path)", r"\(read\)"),
        ("from cmbml.core import load_config", "load_config().params", "load_config"),
        ("import cmbml", "cmbml.open()", "cmbml.open"),
        ("import subprocess", "subprocess.run(['ls'])", r"starts a program \(subprocess.run\).*'programs'"),
        ("from os import system", "system('ls')", "os.system"),
        ("from importlib import import_module", "import_module(self.name)", "code that cannot be followed"),
        ("", "eval(self.formula)", r"cannot be followed \(eval\)"),
        ("import sys\nsys.path.insert(0, '/lab')\nfrom toy_m import f", "f()", "changes sys.path"),
        ("from os import *", "environ['KNOB']", "KNOB"),
        ("import os", "vars(os)['environ']['KNOB']", "KNOB"),
        ("import sys, os", "sys.modules['os'].environ['KNOB']", "KNOB"),
        ("import os\nget = os.environ.get", "get('KNOB')", "the environment as a whole"),
        ("from configparser import ConfigParser", "ConfigParser().read('a.ini')", r"\(read\)"),
        ("", "list(map(open, self.paths))", r"\(open\)"),
        ("from nowhere_at_all import f", "f()", "imports nowhere_at_all, which is neither installed nor found"),
    ],
)  # fmt: skip
def test_what_no_fingerprint_holds_is_refused_with_the_line_to_add(one, before, value, said):
    plan = one(value, before, toy_m="import os\nfrom os import environ\ndef f(): return os.environ['DEEP']\n")
    assert any(re.search(f"pipeline/toy.yaml: stages.x: .*{said}", line) for line in refused(plan)), refused(
        plan
    )
    with pytest.raises(CmbmlError):
        check_plan(plan)


@pytest.mark.parametrize(
    ("before", "value"),
    [
        ("import os, time", "time.sleep(float(os.environ.get('PAUSE', '0')))"),
        ("", "open(self.log, 'a').write('made')"),
        ("", "self.log.open(mode='w')"),
        ("import os", "os.environ.update(A='1')"),
        ("import json", "json.loads('1')"),
        ("import subprocess", "subprocess.PIPE"),
        ("try:\n    import cupy as np\nexcept ImportError:\n    import numpy as np", "np.ones(2)"),
        ("import os.path", "os.path.basename('a/b')"),
        ("C = 1", "eval('C')"),
        ("from importlib import import_module", "import_module('toy_math').double(1)"),
        ("class Handlers: open = len", "self.open(1)"),
        (
            "import os\ndef note():\n  if 'L' in os.environ:\n    with open(os.environ['L'], 'a') as f:\n      f.write('')",
            "note()",
        ),
    ],
)  # fmt: skip
def test_what_changes_no_result_is_no_false_alarm(one, before, value):
    assert refused(one(value, before)) == []


def test_no_stage_that_ships_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("PYILC_PATH", str(tmp_path))
    everything = {"methods": [*load_config(ROOT).params.methods, "pyilc"], "components.write": True}
    plan = Plan(load_config(ROOT, overrides=everything))
    assert "pyilc" in plan.stages
    assert [str(error) for stage in plan.stages.values() for error in undeclared(plan, stage)] == []


def test_the_declaration_lifts_it_and_nothing_else(one):
    value, before = "self.environment['KNOB'] + os.environ['OTHER']", "import os"
    assert len(refused(one(value, before, "environment: [KNOB]"))) == 1
    assert refused(one(value, before, "environment: [KNOB, OTHER]")) == []
    assert refused(one("load(self.files['t'])", "from numpy import load", "files: {t: toy.py}")) == []
    assert refused(one("load(self.path)", "from numpy import load", "files: {}")) == []
    assert len(refused(one("open('other.json')", "", "files: {t: toy.py}"))) == 1
    assert refused(one("run(['ls'])", "from subprocess import run", "programs: {}")) == []
    assert refused(one("eval(self.formula)", "", "files: {}")) == []


def test_a_declared_variable_counts_and_its_value_is_in_no_file(one, monkeypatch):
    plan = one("self.environment['KNOB']", "", "environment: [KNOB]")
    monkeypatch.delenv("KNOB", raising=False)
    prints = {print_of(plan)}
    for value in ("/home/me", "2"):
        monkeypatch.setenv("KNOB", value)
        plan = Plan(plan.config)
        prints.add(print_of(plan))
        assert "/home/me" not in str(plan.recipe(plan.portions(plan.stages["x"])[0]))
    assert len(prints) == 3
    assert Engine(plan).make_executor("x", None).environment["KNOB"] == "2"


def test_a_declared_file_counts_by_content(one, toy):
    (toy.root / "tables").mkdir()
    toy.write("tables/a.txt", "1")
    lines = ['files: {one: tables/a.txt, all: "tables/*.txt"}']
    plan = one("self.files['one'].read_text() + str(self.files.all('all'))", "", *lines)
    before = print_of(plan)
    assert "tables/a.txt" in dvc_yaml(plan)
    assert refused(plan) == []
    for name, text in (("tables/a.txt", "2"), ("tables/b.txt", "1")):
        toy.write(name, text)
        plan = Plan(plan.config)
        assert print_of(plan) != before
        before = print_of(plan)
    files = Engine(plan).make_executor("x", None).files
    assert files["one"].read_text() == "2"
    assert [path.name for path in files.all("all")] == ["a.txt", "b.txt"]
    with pytest.raises(
        UndeclaredError, match=r"no 'oen' in 'files': did you mean 'one'.*add 'oen' to 'files'"
    ):
        files["oen"]
    (toy.root / "tables/a.txt").unlink()
    with pytest.raises(CmbmlError, match=r"tables/a.txt: no such file"):
        check_plan(Plan(plan.config))


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", ""])
def test_files_lie_in_the_repository(one, path):
    with pytest.raises(CmbmlError, match="below the repository"):
        one("1", "", f'files: {{t: "{path}"}}')


def test_a_program_counts_by_content_wherever_it_lies(one, tmp_path, monkeypatch):
    for name, text in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name / "bin/__pycache__").mkdir(parents=True)
        (tmp_path / name / "bin/main.py").write_text(text)
        (tmp_path / name / "bin/__pycache__/main.pyc").write_text(name)
    plan = one("self.programs['lab']", "", "programs: {lab: $LAB/bin}")
    prints = []
    for name in "abc":
        monkeypatch.setenv("LAB", str(tmp_path / name))
        plan = Plan(plan.config)
        prints.append(print_of(plan))
        assert Engine(plan).make_executor("x", None).programs["lab"] == tmp_path / name / "bin"
    assert prints[0] == prints[1] != prints[2]
    monkeypatch.setenv("LAB", str(tmp_path / "nowhere"))
    with pytest.raises(CmbmlError, match=r"program 'lab': there is no .*nowhere/bin: .*set LAB"):
        check_plan(Plan(plan.config))


def test_a_program_on_the_path_is_one_file(one, tmp_path, monkeypatch):
    prints = set()
    plan = one("1", "", "programs: {tool: cmbml-test-tool}")
    for number in "12":
        tool = tmp_path / number / "cmbml-test-tool"
        tool.parent.mkdir()
        tool.write_text(f"#!/bin/sh\necho {number}\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
        prints.add(print_of(Plan(plan.config)))
    assert len(prints) == 2


def test_another_checkout_of_pyilc_is_another_fingerprint(monkeypatch, tmp_path):
    plan = Plan(load_config(ROOT, overrides={"methods": ["nilc", "pyilc"]}))
    prints = []
    for number in (1, 2, 1):
        folder = tmp_path / f"{len(prints)}/pyilc"
        folder.mkdir(parents=True)
        (folder / "main.py").write_text(f"print({number})\n")
        monkeypatch.setenv("PYILC_PATH", str(folder.parent))
        plan = Plan(plan.config)
        prints.append(plan.fingerprint(plan.pieces(plan.portions(plan.stages["pyilc"])[0])[0]))
    assert prints[0] == prints[2] != prints[1]


@pytest.mark.parametrize(
    ("walk", "value", "fact"),
    [
        ("process_sim(self, split, sim)", "split.n_sims", "n_sims"),
        ("process_sim(self, split, sim)", "list(split.iter_sims())", "n_sims"),
        ("process_sim(self, split, sim)", "split.population", "population"),
        ("process_split(self, split)", "split.n_sims", "n_sims"),
        ("execute(self)", "[s.name for s in self.splits]", "name"),
        ("execute(self)", "[s.name for s in self.splits]", "n_sims"),
    ],
)
def test_facts_of_a_split_are_hidden_until_declared(one, toy, walk, value, fact):
    if fact != "n_sims" or walk != "execute(self)":
        with pytest.raises(
            UndeclaredError, match=rf"reads {fact} of split 'train'.*add '{fact}' to 'split_facts'"
        ):
            run(one(value, "", walk=walk))
    plan = one(value, "", f"split_facts: [{fact}]", walk=walk)
    run(plan)
    before = print_of(plan)
    toy.edit("params.yaml", "train: {n_sims: 3, population: nominal", "train: {n_sims: 4, population: dusty")
    changed = print_of(Plan(toy.config())) != before
    assert changed == (fact != "name")


def run(plan):
    engine = Engine(plan)
    engine.run_block(plan.pieces(plan.portions(plan.stages["x"])[0]))


def test_what_the_inputs_hold_may_be_seen(toy):
    """The toy's totals count simulations that they read; a summary walks over splits whose totals it reads."""
    toy.add_summary()
    plan = Plan(toy.config())
    assert plan.split_facts(plan.stages["total"], None)["test"] == {"name", "stream", "n_sims"}
    assert plan.split_facts(plan.stages["summary"], None)["test"] == {"name", "stream", "n_sims"}
    assert plan.split_facts(plan.stages["double"], None)["test"] == {"name", "stream"}


def test_what_an_input_declares_of_its_own_splits_says_nothing_of_others(one, toy):
    one("1", "", "splits: [train]", "split_facts: [n_sims]", walk="execute(self)")
    toy.append(
        "pipeline/toy.yaml",
        "  y:\n    executor: toy.X\n    dir_name: y\n    assets_in: {x: {stage: x}}\n    assets_out:\n"
        '      y: {handler: Text, path_template: "{root}/{dataset}/{stage}/y.txt"}\n',
    )
    plan = Plan(toy.config())
    facts = plan.split_facts(plan.stages["y"], None)
    assert facts["train"] == {"name", "n_sims"}
    assert facts["test"] == set()


def test_a_population_is_a_key_where_its_content_counts(toy):
    toy.edit("pipeline/toy.yaml", "params: [seed]", "params: [seed, populations]")
    toy.edit(
        "toy.py", "self.seed = cfg.seed", "self.seed = cfg.seed\n        self.populations = cfg.populations"
    )
    draw = "rng = generator(self.seed"
    toy.edit("toy.py", draw, f"assert self.populations[split.population].dust_amplitude\n        {draw}")
    plan = Plan(toy.config())
    Engine(plan).run_block(plan.pieces(plan.portions(plan.stages["number"])[0])[:1])
    toy.edit("toy.py", draw, f"print(f'{{split.population}}')\n        {draw}")
    plan = Plan(toy.config())
    with pytest.raises(UndeclaredError, match=r"name of a population.*add 'population' to 'split_facts'"):
        Engine(plan).run_block(plan.pieces(plan.portions(plan.stages["number"])[0])[1:2])


def test_a_handler_may_open_what_it_is_given_and_nothing_else(one, toy):
    handler = """
import os
from pathlib import Path
from cmbml.core import AssetHandler
class H(AssetHandler):
    def write(self, path, data): path.write_text(data)
    def read(self, path): return path.read_text(){more}
"""
    toy.write("toy_h.py", handler.format(more=""))
    plan = one("1")
    toy.edit("pipeline/toy.yaml", "handler: Text", "handler: toy_h.H")
    assert refused(Plan(toy.config())) == []
    toy.edit("toy_h.py", "path.read_text()", "path.read_text() + Path('t').read_text() + os.environ['KNOB']")
    plan = Plan(toy.config())
    assert len(refused(plan)) == 2


def test_edited_under_the_run_it_is_not_kept(one, toy):
    toy.write("table.txt", "1")
    lines = ["files: {t: table.txt}"]
    write = "[self.files['t'].write_text('2'), self.files['t'].read_text()]"
    plan = one(write, "", *lines)
    with pytest.raises(CmbmlError, match=r"table.txt has changed under the run"):
        run(plan)
    shutil.rmtree(toy.root / "data", ignore_errors=True)


def test_the_names_of_methods_are_hidden_until_declared(one):
    plan = one("self.estimates", walk="execute(self)")
    with pytest.raises(UndeclaredError, match=r"which methods there are.*add 'methods' to 'params'"):
        run(plan)
    plan = one("self.estimates", "", "params: [methods]", walk="execute(self)")
    run(plan)
