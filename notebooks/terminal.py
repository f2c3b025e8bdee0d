"""What the notebooks need besides cmbml: a terminal, and an editor."""

import os
import shlex
import subprocess
import sys
from pathlib import Path


def terminal(command: str, *, fails: bool = False, tail: int | None = None) -> None:
    """Run a command in the working folder and print it with what it says, as a terminal would.

    Parameters
    ----------
    command
        As it would be typed.
    fails
        Whether it is expected to fail.
    tail
        Print only so many lines at the end; by default, all of them.

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
    lines = done.stdout.splitlines()
    hidden = 0 if tail is None else max(len(lines) - tail, 0)
    print("\n".join([f"$ {command}", *(["..."] if hidden else []), *lines[hidden:]]))
    if (done.returncode != 0) != fails:
        raise RuntimeError(f"`{command}` ended with exit code {done.returncode}")


def edit(file: str, old: str, new: str) -> None:
    """Replace text of a file, which must be there once, and print what was done.

    Raises
    ------
    ValueError
        Where the text is not there, or several times.
    """
    text = Path(file).read_text(encoding="utf-8")
    if text.count(old) != 1:
        raise ValueError(f"{file}: {old!r} is there {text.count(old)} times")
    Path(file).write_text(text.replace(old, new), encoding="utf-8")
    print(f"{file}: {' '.join(old.split())}  ->  {' '.join(new.split())}")
