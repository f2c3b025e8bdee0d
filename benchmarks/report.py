"""Time that the report of a finished dataset takes, in this process: the budget is for the dataset mini.

Run as ``python benchmarks/report.py`` after a finished run; writes benchmarks/results/report.json.
"""

import json
import os
import platform
import time
from pathlib import Path

from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.config import load_config

BUDGET_S = 15.0
RESULT = Path(__file__).parent / "results" / "report.json"


def main() -> None:
    """Build the report and write what it took, imports included."""
    wall, cpu = time.perf_counter(), time.process_time()
    from cmbml.report.build import ReportBuilder

    plan = Plan(load_config(Path(__file__).parents[1]))
    index = ReportBuilder(plan).build()
    took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    pages = list(index.parent.glob("*.html"))
    result = {
        "subject": "report",
        "sizes": {
            "dataset": plan.config.dataset,
            "methods": len(plan.config.params.methods),
            "pages": len(pages),
            "megabytes": round(sum(page.stat().st_size for page in pages) / 1e6, 1),
        },
        "machine": {
            "processor": platform.machine(),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load_average": os.getloadavg()[0],
        },
        "seconds": {kind: round(seconds, 2) for kind, seconds in took.items()},
        "budget_s": BUDGET_S if plan.config.dataset == "mini" else None,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
