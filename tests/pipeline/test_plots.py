"""`dvc plots` shows our charts without network."""

import json
import re

from tests.conftest import git

CHART = """

class ChartExecutor(BaseStageExecutor):
    def __init__(self, cfg):
        super().__init__(cfg, stage_str="chart")

    def execute(self):
        from cmbml.analysis.charts.svg import Chart, Panel, Series, style, svg

        series = Series("all", [1, 2], [FIRST, 3.0], style(0))
        self.assets_out["plot"].write(svg(Chart([[Panel([series], "x", "y")]])))


FIRST = 1.0
"""

STAGE = """\
  chart:
    executor: toy.ChartExecutor
    dir_name: chart
    assets_out:
      plot: {handler: Text, path_template: "plots/chart.svg"}
"""


def page(toy):
    return (toy.root / "dvc_plots/index.html").read_text(encoding="utf-8")


def test_charts_are_shown_and_compared_without_network(toy_dvc):
    toy = toy_dvc
    toy.append("toy.py", CHART)
    toy.append("pipeline/toy.yaml", STAGE)
    toy.cmbml("dvc")
    toy.run("dvc", "repro", "chart")
    git(toy.root, "add", ".")
    git(toy.root, "commit", "-q", "-m", "a chart")
    toy.run("dvc", "plots", "show")
    assert not re.search(r"https?://", page(toy)), "the page asks the network"
    (image,) = re.findall(r'<img src="([^"]+)"', page(toy))
    assert (toy.root / "dvc_plots" / image).read_bytes() == (toy.root / "plots/chart.svg").read_bytes()
    toy.edit("toy.py", "FIRST = 1.0", "FIRST = 2.0")
    toy.run("dvc", "repro", "chart")
    toy.run("dvc", "plots", "diff", "HEAD")
    assert not re.search(r"https?://", page(toy))
    old, new = (
        (toy.root / "dvc_plots" / name).read_bytes() for name in re.findall(r'<img src="([^"]+)"', page(toy))
    )
    assert old != new


CURVE = """

class CurveExecutor(BaseStageExecutor):
    def __init__(self, cfg):
        super().__init__(cfg, stage_str="curve")

    def execute(self):
        rows = [{"epoch": n, "train": 1 / n, "valid": 2 / n, "learning_rate": 0.1} for n in (1, 2)]
        self.assets_out["curve"].write(rows)
"""

CURVE_STAGE = """\
  curve:
    executor: toy.CurveExecutor
    dir_name: curve
    assets_out:
      curve: {handler: Csv, path_template: "plots/curve.csv", plot: {x: epoch, y: [train, valid]}}
"""


def test_curves_are_drawn_against_their_column(toy_dvc):
    """Left to itself DVC would draw the last column against the number of the row."""
    toy = toy_dvc
    toy.write("toy.py", (toy.root / "toy.py").read_text() + CURVE)
    toy.write("pipeline/toy.yaml", (toy.root / "pipeline/toy.yaml").read_text() + CURVE_STAGE)
    toy.cmbml("dvc")
    toy.run("dvc", "repro", "curve")
    (plot,) = json.loads(toy.run("dvc", "plots", "show", "--json").stdout)["data"].values()
    encoding = plot[0]["content"]["encoding"]
    assert encoding["x"]["field"] == "epoch"
    assert encoding["strokeDash"]["scale"]["domain"] == ["train", "valid"]
