"""Whether the report is that of the data at hand, told without importing what draws it."""

import hashlib
import json
from pathlib import Path

from cmbml.core.plan.code import code_of
from cmbml.core.plan.code_memo import prepare_codes
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.record.git import commit
from cmbml.core.spec.repository import LOCAL
from cmbml.core.spec.roles import CONSUMERS

REPORT = "reports/index.html"
TEMPLATES = Path(__file__).parent / "templates"
BUILDER = "cmbml.report.build.ReportBuilder"


def report_lacks(plan: Plan) -> list[str]:
    """Stages that the report is drawn from and that a pipeline of the user's own may not have."""
    drawn = dict.fromkeys(role.stage for role in CONSUMERS["cmbml report"])
    return [stage for stage in drawn if not plan.makers(stage)]


def submission_folder(plan: Plan) -> Path:
    """Where the scores of maps made elsewhere are kept."""
    return plan.config.root / LOCAL / "submissions" / plan.config.dataset


def report_mark(plan: Plan) -> str:
    """Last line of a report: a hash of all that it is made from."""
    pieces = [
        piece for stage in plan.stages.values() for p in plan.portions(stage) for piece in plan.pieces(p)
    ]
    files = [*sorted(submission_folder(plan).glob("*.json")), *sorted(TEMPLATES.iterdir())]
    texts = [path.read_text(encoding="utf-8") for path in files]
    prepare_codes(plan.config.root, [BUILDER])
    facts = [
        [plan.fingerprint(piece) for piece in pieces],
        code_of(BUILDER).modules,
        commit(plan.config.root),
    ]
    return f"<!-- {hashlib.sha256(json.dumps([facts, texts]).encode()).hexdigest()} -->\n"


def report_is_fresh(plan: Plan) -> bool:
    """Whether reports/index.html is that of the data, code and commit at hand."""
    path = plan.config.root / REPORT
    return path.is_file() and path.read_text(encoding="utf-8").endswith(report_mark(plan))
