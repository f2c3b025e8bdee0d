"""The layers that import-linter holds, and what imports alone do not show."""

import ast
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

# Imports that no layer allows: the module, and the line that is added to it.
FORBIDDEN = {
    "cmbml.core.record.git": "from cmbml.report.build import ReportBuilder",
    "cmbml.core.record.locks": "from cmbml.methods.executors import BandReader",
    "cmbml.core.record.dvc_cache": "from cmbml.report.submissions import Scorer",
    "cmbml.core.spec.namer": "from cmbml.core.files.asset import Asset",
    "cmbml.core.record.cost": "from cmbml.sky.executors.mask import MaskExecutor",
    "cmbml.core.plan.reads": "from cmbml.core.engine.make import Engine",
    "cmbml.exchange.card": "import luigi",
    "cmbml.exchange.part": "import torch",
    "cmbml.authoring.schemas": "import dvc",
    "cmbml.sky.units": "from cmbml.exchange.card import write_card",
    "cmbml.sky.mask": "from cmbml.core.errors import DataError",
    "cmbml.sky.executors.mask": "import luigi",
    "cmbml.methods.ilc": "from cmbml.analysis.metric import Metric",
    "cmbml.report.index": "from cmbml.clean.request import Order",
    "cmbml.interfaces.pyilc.config": "from cmbml.report.html import render",
}


def test_no_layer_is_skipped_unseen(tmp_path):
    for place in ("cmbml", "tasks", "pyproject.toml"):
        subprocess.run(["cp", "-r", ROOT / place, tmp_path], check=True)
    for module, line in FORBIDDEN.items():
        path = tmp_path / f"{module.replace('.', '/')}.py"
        path.write_text(f"{path.read_text()}\n{line}\n")
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    unseen = {
        module: line
        for module, line in FORBIDDEN.items()
        if not any(
            f"{module} -> {line.split()[1].partition('.')[0]}" in said for said in done.stdout.splitlines()
        )
    }
    assert unseen == {}


SCIENCE = sorted(
    path for room in ("sky", "methods", "analysis") for path in (ROOT / "cmbml" / room).rglob("*.py")
)
OPENING = {"open", "read_text", "write_text", "read_bytes", "write_bytes", "load", "loadtxt", "savetxt", "fromfile", "read_map", "write_map", "getheader", "getdata"}  # fmt: skip
# PySM reads its own templates; these look up which, and at what resolution.
READS_PYSM = {"cmbml/sky/pysm/templates.py", "cmbml/sky/pysm/components.py"}


def is_executors(path):
    return "executors" in (path.stem, path.parent.name)


def test_science_opens_no_file():
    """Only executors do, through assets."""
    found = {}
    for path in SCIENCE:
        calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        names = {call.id if isinstance(call, ast.Name) else getattr(call, "attr", "") for call in calls}
        if names & OPENING and not is_executors(path):
            found[path.relative_to(ROOT).as_posix()] = names & OPENING
    assert found.keys() == READS_PYSM


def test_what_is_called_executors_holds_executors():
    places = {
        path if path.stem == "executors" else path.parent
        for path in ROOT.glob("cmbml/**/*.py")
        if is_executors(path)
    }
    assert len(places) > 8
    for place in places:
        files = [place] if place.suffix else place.glob("*.py")
        assert any("Executor(" in file.read_text() for file in files), place
