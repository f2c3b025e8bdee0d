"""Names that users give to splits, methods and bands, and lists in which nothing may stand twice."""

from collections.abc import Collection
from datetime import date
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

Listed = TypeVar("Listed", bound=Collection[Any])


def _text(value: Any) -> Any:
    """Refuse what yaml takes for something else: the file's 007 would be folder 7 without a word."""
    if value is None or isinstance(value, bool | int | float | date):
        said = "null" if value is None else str(value).lower()
        kind = "a date" if isinstance(value, date) else f"{said}, no text"
        raise ValueError(f"yaml reads this as {kind}: put it in quotes")
    return value


def apart(names: Listed) -> Listed:
    """Refuse names that stand twice, and those that are one folder where case does not count.

    Raises
    ------
    ValueError
        Where two are the same.
    """
    seen: dict[Any, Any] = {}
    for name in names:
        key = name.casefold() if isinstance(name, str) else name
        if key in seen:
            other = seen[key]
            if other == name:
                raise ValueError(f"'{name}' is named twice: take it out once")
            raise ValueError(
                f"'{other}' and '{name}' differ in case alone, which some disks ignore: rename one"
            )
        seen[key] = name
    return names


# It becomes the name of a folder or file.
Name = Annotated[str, BeforeValidator(_text), Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Apart = AfterValidator(apart)
