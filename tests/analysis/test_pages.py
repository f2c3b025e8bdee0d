import numpy as np
import pytest

from cmbml.analysis.spectra.comparison import Comparison
from cmbml.analysis.statistics import summarise
from cmbml.report.html import Picture, ReportContext, render_page
from cmbml.report.page import SplitResults, median_sim, method_page

N_SIMS = 12


def fresh(name):
    return np.random.default_rng(len(name))


@pytest.fixture(scope="module")
def results():
    rng = np.random.default_rng(8)
    dust = rng.uniform(0.5, 2, N_SIMS)
    rmse = 3 + dust + 0.01 * rng.normal(size=N_SIMS)
    power = np.linspace(100, 50, 4)
    comparison = Comparison(np.arange(4) * 10.0 + 5, power, power + 1, power, np.ones(4))
    return SplitResults(
        split="test",
        sims=[f"sim{i:04d}" for i in range(N_SIMS)],
        values={
            "nilc": {"rmse": rmse, "psnr": 60 - rmse},
            "noise_floor": {"rmse": rmse / 10},
            "perfect_estimate": {"rmse": np.zeros(N_SIMS), "psnr": np.full(N_SIMS, np.inf)},
        },
        draws={"beta": rng.normal(size=N_SIMS), "dust": dust, "tau": np.full(N_SIMS, 0.06)},
        spectra={"TT": {"nilc": comparison, "noise_floor": comparison}},
        sigma={"TT": np.full(4, 5.0)},
    )


@pytest.fixture(scope="module")
def page(results):
    return method_page("nilc", results, [], fresh, n_resamples=200, figures=[Picture(b"", "a curve")])


def test_page_holds_all_and_can_be_rendered(page, results):
    # Spectra, transfer, distribution, the two parameters that vary, and what was given.
    assert len(page.figures) == 6
    assert page.figures[-1].alt == "a curve"
    assert "with 2 parameters" in page.notes[0]
    scores = summarise({"test": results.values})
    context = ReportContext("title", "mini", {}, scores, {"test": N_SIMS}, pages=[page])
    assert "sim0011" in render_page(context, page)


def test_strongest_parameter_comes_first(page):
    assert [row[0] for row in page.tables[0].rows] == ["dust", "beta"]


def test_worst_simulation_comes_first(page, results):
    rows = page.tables[-1].rows
    rmse = results.values["nilc"]["rmse"]
    assert rows[0][0] == f"sim{np.argmax(rmse):04d}"
    assert rows[-1][0] == f"sim{np.argmin(rmse):04d}"
    assert rows[0][1] == f"{rmse.max():.4g}"


def test_reference_without_errors_has_a_page_too(results):
    page = method_page("perfect_estimate", results, [], fresh, n_resamples=200)
    assert [table.caption for table in page.tables] == ["All simulations, the worst first"]


def test_single_simulation_has_a_page():
    one = SplitResults("test", ["sim0000"], {"nilc": {"rmse": [4.0]}}, draws={"dust": [1.0]})
    page = method_page("nilc", one, [], fresh, n_resamples=200)
    assert len(page.figures) == 1
    assert page.tables[0].rows == [["sim0000", "4"]]


@pytest.mark.parametrize(("scores", "median"), [([3.0, 1.0, 2.0], 2), ([4.0, 1.0, 3.0, 2.0], 3), ([5.0], 0)])
def test_median_simulation(scores, median):
    assert median_sim(scores) == median
