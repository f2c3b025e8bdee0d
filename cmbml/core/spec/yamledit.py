"""Values changed in a yaml file that a person wrote: what stays the same stays as it stands, to the letter.

The text is cut where the parser says that a value stands, and only what has another value is written anew, so
that comments, empty lines, quotes, brackets and indentation survive.  (A round trip through ruamel.yaml keeps
most of them, but drops comments in brackets and indents the whole file in one way.)
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from cmbml.core.spec.yamlio import PureLoader, dump_yaml, parse_yaml

Path = tuple[Any, ...]
# As PyYAML composes it, with its anchor.
Node = Any
# What changes beneath an anchor changes its aliases too, which the next pass sets right.
_PASSES = 3
_STEP = "  "
_CRLF = "\r\n"


def edited(text: str, wanted: Mapping[str, Any], like: Sequence[str] = ()) -> str:
    """Text of a yaml file with other values.

    Parameters
    ----------
    text
        The file as it is.
    wanted
        All its values as they shall be.
    like
        Texts of other files, the first one first: a value that one of them has at the same place is written
        as it stands there, with its comments.  Else a mapping is written with one key a line.

    Returns
    -------
    str
        What is read as `wanted`.

    Raises
    ------
    ConfigError
        Where a text is not yaml.
    """
    if _CRLF in text:
        return edited(text.replace(_CRLF, "\n"), wanted, like).replace("\n", _CRLF)
    samples = [_Document(sample) for sample in like]
    text = text if text.endswith("\n") else f"{text}\n"
    for _ in range(_PASSES):
        document = _Document(text)
        if _same(document.values, wanted):
            return text
        edit = _Edit(document, samples)
        if not isinstance(document.values, dict) or not edit.mapping(
            document.node, document.values, wanted, ()
        ):
            break
        text = edit.result()
    return dump_yaml(wanted)


class _Loader(PureLoader):
    """Composes nodes that know their anchor; an alias is a node of its own, with its own place."""

    def compose_node(self, parent: Node | None, index: Any) -> Node:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            self.get_event()  # type: ignore[no-untyped-call]
            marks: Any = event.start_mark, event.end_mark
            node: Node = yaml.ScalarNode("alias", "", *marks)
        else:
            node = super().compose_node(parent, index)
        node.anchor = event.anchor
        return node


@dataclass(frozen=True)
class _Entry:
    """A key of a mapping, and its value."""

    key: Node
    node: Node


@dataclass
class _Document:
    """A yaml text, what it says, and where."""

    text: str
    values: Any = field(init=False)
    node: Node = field(init=False)
    _entries: dict[Node, dict[Any, _Entry]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.values = parse_yaml(self.text, "yaml")
        self.node = yaml.compose(self.text, Loader=_Loader)

    def cut(self, node: Node) -> str:
        """The node as it stands."""
        return self.text[node.start_mark.index : self.end(node)]

    def end(self, node: Node) -> int:
        """Where a node ends; for the parser, lines go on to the next thing, over all comments."""
        if _is_block(node):
            return max(self.end(child) for child in _children(node))
        index = int(node.end_mark.index)
        literal = isinstance(node, yaml.ScalarNode) and node.style in ("|", ">")
        return len(self.text[:index].rstrip()) if literal else index

    def entries(self, node: Node) -> dict[Any, _Entry]:
        """What stands in a mapping itself, by key."""
        if node not in self._entries:
            pairs = [(key, value) for key, value in node.value if not _is_merge(key)]
            self._entries[node] = {
                parse_yaml(self.cut(key), "yaml"): _Entry(key, value) for key, value in pairs
            }
        return self._entries[node]

    def find(self, path: Path) -> _Entry | None:
        """The entry at a place, unless an alias or a merge key leads there."""
        entry, node = None, self.node
        for key in path:
            entry = self.entries(node).get(key) if isinstance(node, yaml.MappingNode) else None
            if entry is None:
                return None
            node = entry.node
        return entry

    def value(self, path: Path) -> Any:
        """The value at a place that is there."""
        value = self.values
        for key in path:
            value = value[key]
        return value

    def line_start(self, index: int) -> int:
        """Where the line of a character begins."""
        return self.text.rfind("\n", 0, index) + 1

    def line_end(self, index: int) -> int:
        """Where the line of a character ends, before its line break."""
        return self.text.index("\n", index)


@dataclass
class _Edit:
    """The changes to one text."""

    document: _Document
    samples: Sequence[_Document]
    _changes: list[tuple[int, int, str]] = field(default_factory=list)

    def result(self) -> str:
        """The text with all changes."""
        text, parts, place = self.document.text, [], 0
        for start, end, new in sorted(self._changes, key=lambda change: change[:2]):
            parts += [text[place:start], new]
            place = end
        return "".join([*parts, text[place:]])

    def _change(self, start: int, end: int, new: str) -> None:
        self._changes.append((start, end, new))

    def mapping(self, node: Node, values: Mapping[Any, Any], wanted: Mapping[Any, Any], path: Path) -> bool:
        """Change what differs in a mapping; False where only writing it anew will do."""
        own = self.document.entries(node)
        if not own.keys() & wanted.keys():
            return False
        # A merge key that brings what is not wanted goes, and the rest of what it brings is written out.
        merged = values.keys() - own.keys()
        if unmerged := not merged <= wanted.keys():
            merged = set()
        for key, entry in own.items():
            if key in wanted and not _same(values[key], wanted[key]):
                self._value(entry, values[key], wanted[key], (*path, key), inline=node.flow_style)
        stays = {entry.key for key, entry in own.items() if key in wanted}
        stays |= {key for key, _ in node.value if _is_merge(key) and not unmerged}
        spans = [(key.start_mark.index, self.document.end(value)) for key, value in node.value]
        gone = [i for i, (key, _) in enumerate(node.value) if key not in stays]
        self._remove(spans, gone, inline=node.flow_style)
        before = None
        for key, value in wanted.items():
            if key in own:
                before = own[key]
            elif key not in merged or not _same(values[key], value):
                self._add(node, before, (*path, key), value)
        return True

    def _value(self, entry: _Entry, value: Any, wanted: Any, path: Path, *, inline: bool) -> None:
        """Change the value of a key."""
        node = entry.node
        in_place = node.tag != "alias"
        if in_place and isinstance(value, dict) and isinstance(wanted, dict) and wanted:
            # What two files say together stands in brackets in neither: it is opened, and closed again where
            # the last file says all of it so.
            closed = self._said(path, wanted, self.samples[-1:])
            turns = node.flow_style or (closed is not None and closed[1].node.flow_style)
            if turns and not inline and "#" not in self.document.cut(node) and _is_plain(node):
                in_place = False
            if in_place and self.mapping(node, value, wanted, path):
                return
        listed = in_place and isinstance(value, list) and isinstance(wanted, list)
        if listed and node.flow_style and "#" not in self.document.cut(node):
            # One line may as well be that of another file.
            listed = self._said(path, wanted) is None
        if listed and self._sequence(node, value, wanted):
            return
        self._replace(entry, wanted, path, inline=inline)

    def _sequence(self, node: Node, values: list[Any], wanted: list[Any]) -> bool:
        """Take items out of a list and put others behind the rest; False where no item can stay."""
        kept: list[int] = []
        for i, value in enumerate(values):
            if len(kept) < len(wanted) and _same(value, wanted[len(kept)]):
                kept.append(i)
        if not kept:
            return False
        items, inline = node.value, node.flow_style
        places = [item.start_mark.index for item in items]
        dashes = [self.document.text[self.document.line_start(place) : place] for place in places]
        if not inline and any(dash.strip() != "-" for dash in dashes):
            return False
        spans = [(place, self.document.end(item)) for place, item in zip(places, items, strict=True)]
        self._remove(spans, [i for i in range(len(values)) if i not in kept], inline=inline)
        end = spans[kept[-1]][1]
        for value in wanted[len(kept) :]:
            if inline:
                self._change(end, end, f", {_flow(value)}")
            else:
                place = self.document.line_end(end) + 1
                self._change(place, place, f"{dashes[-1]}{_flow(value)}\n")
        return True

    def _remove(self, spans: Sequence[tuple[int, int]], gone: Sequence[int], *, inline: bool) -> None:
        """Take parts out of a mapping or list: lines, or what stands between commas."""
        last = max((i for i in range(len(spans)) if i not in gone), default=0)
        for i in gone:
            start, end = spans[i]
            if not inline:
                self._change(self.document.line_start(start), self.document.line_end(end) + 1, "")
            elif i < last:
                self._change(start, spans[i + 1][0], "")
            else:
                self._change(spans[i - 1][1], end, "")

    def _add(self, node: Node, before: _Entry | None, path: Path, value: Any) -> None:
        """Put a key into a mapping, behind another or in front of all."""
        said = self._said(path, value)
        key = said[0].cut(said[1].key) if said else _flow(path[-1])
        first = node.value[0][0].start_mark
        place = self.document.end(before.node) if before else first.index
        if node.flow_style:
            new = f"{key}:{self._written(path, value, '', inline=True)}"
            self._change(place, place, f", {new}" if before else f"{new}, ")
            return
        indent = " " * first.column
        place = self.document.line_end(place) + 1 if before else self.document.line_start(place)
        gap = "\n" if len(path) == 1 and isinstance(value, dict) and before else ""
        self._change(place, place, f"{gap}{indent}{key}:{self._written(path, value, indent)}\n")

    def _replace(self, entry: _Entry, wanted: Any, path: Path, *, inline: bool) -> None:
        """Write the value of a key anew; a comment in the line of the key stays there."""
        text, node = self.document.text, entry.node
        start, end = node.start_mark.index, self.document.end(node)
        indent = " " * entry.key.start_mark.column
        colon = text.index(":", self.document.end(entry.key)) + 1
        if _is_block(node):
            listed = isinstance(wanted, list) and isinstance(node, yaml.SequenceNode)
            new = self._written(path, wanted, indent, listed=listed)
            head = text[colon : self.document.line_end(colon)]
            self._change(colon, end, f"{head}{new}" if new.startswith("\n") else f"{new}{head}")
            return
        new = self._written(path, wanted, indent, inline=inline)
        anchor = f" &{node.anchor}" if node.anchor and node.tag != "alias" else ""
        if new.startswith("\n"):
            line_end = self.document.line_end(end)
            self._change(colon, line_end, f"{anchor}{text[end:line_end]}{new}")
        else:
            # A value that is there has its own space before it; an empty one has none.
            written = f"{anchor}{new}"
            self._change(start, end, written.removeprefix(" ") if start > colon else written)

    def _said(
        self, path: Path, value: Any, samples: Sequence[_Document] | None = None
    ) -> tuple[_Document, _Entry] | None:
        """Where another file says the same."""
        for sample in self.samples if samples is None else samples:
            entry = sample.find(path)
            if entry is not None and _is_plain(entry.node) and _same(sample.value(path), value):
                return sample, entry
        return None

    def _written(
        self, path: Path, value: Any, indent: str, *, inline: bool = False, listed: bool = False
    ) -> str:
        """What follows the colon of a key: a word after a space, or lines."""
        said = self._said(path, value)
        if listed and value and not any(isinstance(item, dict | list) for item in value):
            return "".join(f"\n{indent}- {_flow(item)}" for item in value)
        if said and not (inline and _is_block(said[1].node)):
            return _taken(*said, indent)
        if not isinstance(value, dict) or not value or inline:
            return f" {_flow(value)}"
        deeper = indent + _STEP
        lines = (f"{_flow(key)}:{self._written((*path, key), each, deeper)}" for key, each in value.items())
        return "".join(f"\n{deeper}{line}" for line in lines)


def _taken(document: _Document, entry: _Entry, indent: str) -> str:
    """A value as it stands in another file, moved to an indentation."""
    column = entry.key.start_mark.column
    if _is_block(entry.node):
        start = document.line_start(entry.node.start_mark.index)
        lines = document.text[start : document.end(entry.node)].splitlines()
        return "".join(f"\n{indent}{line[column:]}" for line in lines)
    first, *more = document.cut(entry.node).splitlines() or ["null"]
    return "".join([f" {first}", *(f"\n{indent}{line[column:]}" for line in more)])


def _flow(value: Any) -> str:
    """A value on one line."""
    return dump_yaml([value], flow=True).strip()[1:-1]


def _is_block(node: Node) -> bool:
    """Whether a node is a mapping or list of lines."""
    return isinstance(node, yaml.CollectionNode) and not node.flow_style


def _is_merge(key: Node) -> bool:
    return str(key.tag).endswith(":merge")


def _children(node: Node) -> Iterator[Node]:
    for item in node.value if isinstance(node, yaml.CollectionNode) else ():
        yield from item if isinstance(item, tuple) else (item,)


def _is_plain(node: Node) -> bool:
    """Whether neither anchors nor aliases are in it."""
    return node.anchor is None and all(_is_plain(child) for child in _children(node))


def _same(one: Any, other: Any) -> bool:
    """Whether two values are written alike: 1, 1.0 and true are three."""
    if isinstance(one, dict) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and repr(one) == repr(other)
