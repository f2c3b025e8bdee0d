"""A terminal for the notebooks: commands of this environment, and what they say."""

import os
import shlex
import subprocess
import sys
from pathlib import Path


def terminal(command: str, *, fails: bool = False) -> None:
    """Run a command in the working folder and print it with what it says, as a terminal would.

    Parameters
    ----------
    command
        As it would be typed.
    fails
        Whether it is expected to fail.

    Raises
    ------
    RuntimeError
        Where it fails, or does not where it should.
    """
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        shlex.split(command),
        env={**os.environ, "PATH": programs},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(f"$ {command}\n{done.stdout}", end="")
    if (done.returncode != 0) != fails:
        raise RuntimeError(f"`{command}` ended with exit code {done.returncode}")
