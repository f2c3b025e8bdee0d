"""The parameter type of lists of names in which none stands twice; imports pydantic only."""

from typing import Annotated

from pydantic import AfterValidator


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError(f"one of {', '.join(names)} is named twice: take it out once")
    return names


Choices = Annotated[tuple[str, ...], AfterValidator(_once)]
