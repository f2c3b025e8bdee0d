"""Errors that a user can act on: one line that says what, where and the remedy."""

from collections.abc import Iterable
from difflib import get_close_matches


class CmbmlError(Exception):
    """A user's mistake or a refusal; shown as one line, whatever files put into it, without a traceback."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


class ConfigError(CmbmlError):
    """params.yaml, a profile or an override is wrong."""


class PipelineError(CmbmlError):
    """A pipeline yaml is wrong, or disagrees with the code or with dvc.yaml."""


class UndeclaredError(CmbmlError):
    """An executor reads what its stage does not declare."""


class DirectionError(CmbmlError):
    """An input is written, or an output read."""


class NamerError(CmbmlError):
    """A path template cannot be filled."""


class DataError(CmbmlError):
    """A file is missing, damaged, or not what its reader was promised."""


class StorageError(CmbmlError):
    """The disk refuses: full, read-only, over quota, no permission."""


class LockedError(CmbmlError):
    """Another process is making the same files."""


class StageError(CmbmlError):
    """A stage did not do what it declares."""


class SkippedError(CmbmlError):
    """A block is not tried, because another of its stage has failed and was reported."""


class ProblemsError(CmbmlError):
    """Several problems found by one check, one line each."""

    def __init__(self, problems: Iterable[CmbmlError]) -> None:
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """Hint at the closest of `options`, or list them where none is close."""
    known = sorted(options)
    matches = get_close_matches(word, known, n=1)
    if matches:
        return f"did you mean '{matches[0]}'?"
    return f"known: {', '.join(known)}" if known else "none is known"
