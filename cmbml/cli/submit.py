"""The command that hands the whole run to a cluster: submit."""

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from cmbml.cli.options import number
from cmbml.core.engine.console import Add
from cmbml.core.errors import ConfigError
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.numbers import Count
from cmbml.core.spec.repository import LOCAL

_RUN = "cluster/run.sh"
_SCRIPT = f"{LOCAL}/slurm.sbatch"
_LOG = f"{LOCAL}/slurm-%j.log"
# Minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes, days-hours:minutes:seconds.
_TIME = re.compile(r"[0-9]+(:[0-5]?[0-9]){0,2}|[0-9]+-[0-9]+(:[0-5]?[0-9]){0,2}")
_SLURM = """\
#!/usr/bin/env bash
# Written by `cmbml submit slurm`: luigid on the first node, and {workers} workers.
#SBATCH --job-name cmbml-{dataset}
#SBATCH --ntasks {workers}
#SBATCH --cpus-per-task {cpus}
#SBATCH --time {time}
#SBATCH --chdir {root}
#SBATCH --output {log}
{more}\
set -eu
export PATH={programs}:$PATH
# The address of this node as the others see it.
host=$(srun --nodes 1 --ntasks 1 printenv SLURM_LAUNCH_NODE_IPADDR)
# A step does not inherit --cpus-per-task from its job.
exec {run} "$host" srun --kill-on-bad-exit=0 --wait=0 --ntasks {workers} --cpus-per-task {cpus}
"""


def add_submit(add: Add, plan: Callable[[], Plan]) -> None:
    """Add the command to the command line.

    Parameters
    ----------
    add
        Makes a subparser from name, function and description.
    plan
        Gives the plan of the repository at hand.
    """
    parser = add("submit", lambda options: _submit(options, plan()), "make everything in a job of a cluster")
    parser.add_argument("scheduler", choices=("slurm",), help="what the cluster runs")
    parser.add_argument("--workers", type=number(Count), default=4, help="tasks of the job (default: 4)")
    parser.add_argument(
        "--cpus", type=number(Count), help="cores of each (default: as many as any stage has threads)"
    )
    parser.add_argument(
        "--time", type=_time_limit, default="12:00:00", help="limit of the job (default: 12:00:00)"
    )
    parser.add_argument(
        "--sbatch", default="", metavar="OPTIONS", help="more, as in --sbatch='--partition long'"
    )
    parser.add_argument("--print", action="store_true", help="only show the script")


def _time_limit(text: str) -> str:
    if not _TIME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"'{text}' is no time of Slurm: say minutes, hours:minutes:seconds or days-hours:minutes:seconds"
        )
    return text


def _submit(options: argparse.Namespace, plan: Plan) -> None:
    root = plan.config.root
    script = _slurm_script(options, plan)
    if options.print:
        print(script, end="")
        return
    if shutil.which("sbatch") is None:
        raise ConfigError("no sbatch here: submit where Slurm is, or see the script with --print")
    path = root / _SCRIPT
    path.parent.mkdir(exist_ok=True)
    path.write_text(script, encoding="utf-8")
    sbatch = ["sbatch", "--parsable", str(path)]
    done = subprocess.run(sbatch, cwd=root, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    # With several clusters: the number of the job, a semicolon, the name of its cluster.
    job = done.stdout.strip().partition(";")[0]
    print(f"job {job}: its log is {_LOG.replace('%j', job)}")


def _slurm_script(options: argparse.Namespace, plan: Plan) -> str:
    root = plan.config.root
    if not (root / _RUN).is_file():
        raise ConfigError(f"{root / _RUN}: is missing: submit from a clone of the repository")
    return _SLURM.format(
        dataset=plan.config.dataset,
        workers=options.workers,
        cpus=options.cpus or max(stage.threads for stage in plan.stages.values()),
        time=options.time,
        root=shlex.quote(str(root)),
        log=_LOG,
        more=f"#SBATCH {options.sbatch}\n" if options.sbatch else "",
        programs=shlex.quote(str(Path(sys.executable).parent)),
        run=_RUN,
    )
