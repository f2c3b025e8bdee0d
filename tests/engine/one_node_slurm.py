"""Slurm on this machine alone, in a folder of its own: munged, slurmctld and slurmd of Debian's slurm-wlm."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Self

DAEMONS = ("munged", "slurmctld", "slurmd")
_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
_SETTINGS = """\
ClusterName=soak
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller}
SlurmdPort={daemon}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
"""


def missing() -> list[str]:
    """Daemons that this machine has not."""
    return [name for name in DAEMONS if shutil.which(name, path=_PATH) is None]


class OneNodeSlurm:
    """A cluster of one node, as long as it is open.

    Parameters
    ----------
    folder
        An empty folder with a short path: sockets lie in it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._daemons: list[subprocess.Popen[bytes]] = []
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": _PATH}

    def __enter__(self) -> Self:
        folder = self._folder
        for name in ("state", "spool"):
            (folder / name).mkdir()
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        host = socket.gethostname().partition(".")[0]
        controller, daemon = _free_port(), _free_port()
        (folder / "slurm.conf").write_text(
            _SETTINGS.format(
                host=host,
                user=os.environ.get("USER") or "root",
                controller=controller,
                daemon=daemon,
                folder=folder,
                cpus=os.cpu_count(),
            )
        )
        files = [
            f"--{kind}-file={folder}/munge.{end}"
            for kind, end in (("key", "key"), ("log", "log"), ("pid", "pid"), ("seed", "seed"))
        ]
        self._start("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files)
        self._start("slurmctld", "-D")
        self._start("slurmd", "-D")
        wait_until(lambda: "idle" in self.run("sinfo", "--noheader", "--format=%T", ok=False))
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel_all()
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(timeout=30)

    def cancel_all(self) -> None:
        """End all jobs, with all that they have started."""
        for job in self.run("squeue", "--noheader", "--format=%i", ok=False).split():
            self.run("scancel", "--signal=KILL", "--full", job, ok=False)
            self.run("scancel", job, ok=False)
        wait_until(lambda: not self.run("squeue", "--noheader", ok=False))

    def _start(self, *command: str) -> None:
        log = (self._folder / f"{command[0]}.out").open("wb")
        with log:
            self._daemons.append(
                subprocess.Popen(
                    command, env={**os.environ, **self.environment}, stdout=log, stderr=log, cwd=self._folder
                )
            )

    def run(self, *command: str, ok: bool = True) -> str:
        """Run a command of Slurm; return what it says."""
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 or not ok, done.stderr
        return done.stdout.strip()

    def state(self, job: str) -> tuple[str, int]:
        """State of a job, such as COMPLETED, and its exit status."""
        words = self.run("scontrol", "show", "job", job).split()
        said = dict(word.split("=", 1) for word in words if "=" in word)
        return said["JobState"], int(said["ExitCode"].partition(":")[0])


def wait_until(condition: Callable[[], bool], seconds: float = 300) -> None:
    """Wait for something that must come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it hangs"
        time.sleep(0.1)


def _free_port() -> int:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
