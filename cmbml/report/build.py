"""Builds the report from finished data."""

from dataclasses import replace
from pathlib import Path

from cmbml.analysis.reference import NOISE_FLOOR, PERFECT
from cmbml.analysis.tables import leading, to_markdown
from cmbml.core.handlers import get_handler
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.roles import SCORES
from cmbml.report.freshness import REPORT, report_lacks, report_mark
from cmbml.report.html import (
    Page,
    render,
    render_page,
    require_one_page_each,
)
from cmbml.report.index import index_context, index_figures, index_flips
from cmbml.report.method_pages import method_page_of
from cmbml.report.numbers import read_numbers
from cmbml.report.submissions import (
    Scorer,
    expect_complete,
)


class ReportBuilder:
    """Writes the report of a finished dataset.

    Parameters
    ----------
    plan
        The dataset's plan.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def build(self) -> Path:
        """Write reports/index.html, with a page for every method and split beside it; return its path.

        Raises
        ------
        DataError
            Where the dataset is not finished.
        """
        plan = self.plan
        for stage in (*plan.stages, *report_lacks(plan)):
            expect_complete(plan, stage)
        path, text = plan.config.root / REPORT, get_handler("Text")
        numbers, scorer = read_numbers(plan), Scorer(plan)
        wanted = [
            Page(method, split)
            for split, found in numbers.results.items()
            for method in found.values
            if method not in (NOISE_FLOOR, PERFECT)
        ]
        context = index_context(numbers, wanted)
        require_one_page_each(context)
        for old in path.parent.glob("*--*.html"):
            old.unlink()
        for empty in wanted:
            page = method_page_of(numbers, scorer, empty.method, empty.split)
            text.write(path.with_name(page.file_name), render_page(context, page))
        maps, figures = index_flips(numbers, scorer), index_figures(numbers)
        index = replace(context, maps=list(maps), figures=list(figures))
        text.write(path, render(index) + report_mark(plan))
        return path


def leaderboard(plan: Plan, split: str, *, every: bool = False) -> str:
    """Scores of one split, maps made elsewhere among them, as a Markdown table: the leading four, or all."""
    expect_complete(plan, SCORES.stage)
    scores = read_numbers(plan).scores
    return to_markdown(scores, split, None if every else leading(scores[split]))
