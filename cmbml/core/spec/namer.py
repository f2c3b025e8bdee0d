"""From tags to paths: the one place where a path is spelt."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePath
from string import Formatter
from typing import Any

from cmbml.core.errors import NamerError, did_you_mean
from cmbml.core.spec.repository import DATA, RAW

TAGS = (
    "root",
    "src_root",
    "dataset",
    "working",
    "stage",
    "split",
    "sim",
    "freq",
    "epoch",
    "field",
    "method",
)


@lru_cache(maxsize=512)
def tags_in(template: str) -> tuple[str, ...]:
    """Names of the tags in a path template, in order."""
    return tuple(name for _, name, _, _ in Formatter().parse(template) if name is not None)


def sim_tag(sim: int | str) -> str:
    """Folder name of a simulation: 3 becomes sim0003."""
    return sim if isinstance(sim, str) else f"sim{sim:04d}"


class Namer:
    """Fills path templates from a context of tags.

    Parameters
    ----------
    base
        The repository; paths are absolute, below it.
    context
        First values of tags; `root` and `src_root` are set.
    """

    def __init__(self, base: Path, context: Mapping[str, Any] | None = None) -> None:
        self.base = base
        self.context: dict[str, Any] = {"root": DATA, "src_root": RAW, **(context or {})}

    @contextmanager
    def set_context(self, level: str, value: Any) -> Iterator[None]:
        """Set one tag inside a ``with`` block."""
        with self.set_contexts({level: value}):
            yield

    @contextmanager
    def set_contexts(self, contexts: Mapping[str, Any]) -> Iterator[None]:
        """Set several tags inside a ``with`` block.

        Raises
        ------
        NamerError
            Where a tag is not one of those that path templates know.
        """
        for level in contexts:
            if level not in TAGS:
                raise NamerError(f"unknown tag '{level}': {did_you_mean(level, TAGS)}")
        before = self.context
        self.context = {**before, **contexts}
        try:
            yield
        finally:
            self.context = before

    def path(self, template: str, **tags: Any) -> Path:
        """Fill `template`; `tags` come before the context.

        Raises
        ------
        NamerError
            Where a tag has no value, or a value would leave the repository.
        """
        values = {**self.context, **tags}
        filled = {tag: self._value(tag, values, template) for tag in tags_in(template)}
        return self.base / template.format(**filled)

    def _value(self, tag: str, values: Mapping[str, Any], template: str) -> str:
        value = values.get(tag)
        if value is None:
            stage = values.get("stage", "?")
            raise NamerError(
                f"tag {{{tag}}} has no value: template '{template}' of stage '{stage}': set it first"
            )
        text = sim_tag(value) if tag == "sim" else str(value)
        if _leaves(text, nested=tag in ("root", "src_root", "stage", "working")):
            raise NamerError(
                f"tag {{{tag}}}: '{text}' would leave the repository's folders: use a plain name"
            )
        return text


@lru_cache(maxsize=4096)
def _leaves(text: str, *, nested: bool) -> bool:
    """Whether a tag's value would lead out of its folder."""
    path = PurePath(text)
    return not text or path.is_absolute() or ".." in path.parts or (len(path.parts) > 1 and not nested)
