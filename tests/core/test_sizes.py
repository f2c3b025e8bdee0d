"""Sizes of functions and modules: what is small can be read at once."""

import ast

import numpy as np

from tests.conftest import ROOT

MODULES = sorted([*ROOT.glob("cmbml/**/*.py"), *ROOT.glob("tasks/**/*.py")])
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def length(node):
    return node.end_lineno - node.lineno + 1


def test_functions_are_short():
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in MODULES]
    lengths = [length(node) for tree in trees for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]
    assert len(lengths) > 1000
    assert np.median(lengths) <= 10
    assert np.percentile(lengths, 90) <= 35


def test_modules_are_short():
    lines = {path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {path: n for path, n in lines.items() if n > 600} == {}
