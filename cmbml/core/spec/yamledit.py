"""Values changed in a yaml file that a person wrote, by a round trip through ruamel.yaml.

Comments, empty lines, quotes, brackets and the notation of numbers stay.  In a file that changes, ruamel.yaml
drops comments within brackets, extra spaces and line breaks within a value, and indents all lines alike.
"""

from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark, YAMLError
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.tokens import CommentToken

from cmbml.core.errors import ConfigError
from cmbml.core.spec.yamlio import dump_yaml, parse_yaml

# What ruamel.yaml loads: a value that knows how it is written.
Node = Any
# What other files have at one place: as it is written, and its plain value.
Samples = Sequence[tuple[Node, Any]]
_CRLF = "\r\n"
# ruamel.yaml keeps four kinds of comments for a key: one is above it, and one beneath its line.
_NO_COMMENTS = (None, None, None, None)
_ABOVE, _BENEATH = 1, 3


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
        What is read as `wanted`; without comments where ruamel.yaml cannot write it into the file.

    Raises
    ------
    ConfigError
        Where a text is not yaml.
    """
    if _CRLF in text:
        return edited(text.replace(_CRLF, "\n"), wanted, like).replace("\n", _CRLF)
    values, others = parse_yaml(text, "yaml"), [parse_yaml(other, "yaml") for other in like]
    if _same(values, wanted):
        return text
    try:
        samples = [(_sample(other), said) for other, said in zip(like, others, strict=True)]
        changed = _changed(text, values, wanted, samples)
        if _same(parse_yaml(changed, "yaml"), wanted):
            return changed
    except (YAMLError, ConfigError):
        pass
    return dump_yaml(wanted)


def _changed(text: str, values: Any, wanted: Mapping[str, Any], samples: Samples) -> str:
    """The text with what differs put in by ruamel.yaml."""
    if not isinstance(values, dict):
        return f"{text}\n{dump_yaml(wanted)}"
    yaml = _yaml()
    document = yaml.load(text)
    end, steps = _moved_down(document), list(_steps(document))
    mapping = next((step for node, step in steps if isinstance(node, CommentedMap)), 2)
    offset = next((step for node, step in steps if isinstance(node, CommentedSeq)), 0)
    yaml.indent(mapping=mapping, sequence=offset + 2, offset=offset)
    _fill(document, values, wanted, samples)
    stream = StringIO()
    yaml.dump(document, stream)
    return stream.getvalue() + end


def _fill(node: Node, values: Mapping[Any, Any], wanted: Mapping[Any, Any], samples: Samples) -> Node:
    """Make a mapping say what is wanted; a new key is spelled and commented as in the other files."""
    for key in values.keys() - wanted.keys():
        del node[key]
    place = 0
    for key, value in wanted.items():
        holders = [(other, said) for other, said in samples if isinstance(said, dict) and key in said]
        if key not in values:
            first = holders[0][0] if holders else CommentedMap({_new(key): None})
            node.insert(place, next(each for each in first if each == key), None)
            node.ca.items[key] = [*first.ca.items.get(key, _NO_COMMENTS)]
        if key not in values or not _same(values[key], value):
            there = [(other[key], said[key]) for other, said in holders]
            new = _put(node[key], values.get(key), value, there)
            if new is not node[key]:
                node[key] = new
                node.ca.items.setdefault(key, [*_NO_COMMENTS])[_BENEATH] = _front(new)
        place = list(node).index(key) + 1
    return node


def _put(node: Node, old: Any, wanted: Any, samples: Samples) -> Node:
    """A value that says what is wanted: the one that is there, changed, where it is of the same kind."""
    if _is_shared(node):
        # What changes here must not change where an alias or merge key says the same.
        old = None
    if isinstance(old, dict) and isinstance(wanted, dict) and old.keys() & wanted.keys():
        return _fill(node, old, wanted, samples)
    taken = [other for other, said in samples if _same(said, wanted)]
    if not taken and isinstance(wanted, dict) and wanted:
        return _fill(CommentedMap(), {}, wanted, samples)
    new = taken[0] if taken else _new(wanted)
    if isinstance(old, list) and isinstance(wanted, list) and old and wanted:
        return _refill(node, old, wanted, new)
    return new


def _refill(node: Node, old: Sequence[Any], wanted: Sequence[Any], new: Sequence[Node]) -> Node:
    """Take items out of a list, and put others behind those that stay."""
    kept: list[int] = []
    for i, item in enumerate(old):
        if len(kept) < len(wanted) and _same(item, wanted[len(kept)]):
            kept.append(i)
    for i in reversed(range(len(old))):
        if i not in kept:
            del node[i]
    node.extend(new[len(kept) :])
    return node


def _new(value: Any) -> Node:
    """A value as `dump_yaml` writes it on one line."""
    return _yaml().load(dump_yaml([value], flow=True))[0]


def _sample(text: str) -> Node:
    """A document to take values from; an empty line before the first key is taken with it."""
    node = _yaml().load(text)
    _moved_down(node, "\n" if text.startswith("\n") else "")
    return node


def _moved_down(node: Node, above: str = "") -> str:
    """Give lines between two keys to the second (in ruamel.yaml, the first has them); return the last."""
    if not _is_block(node):
        return ""
    is_map = isinstance(node, CommentedMap)
    for key in [key for key, _ in node.non_merged_items()] if is_map else range(len(node)):
        comments = node.ca.items.setdefault(key, [*_NO_COMMENTS])
        if above:
            comments[_ABOVE] = [CommentToken(above, CommentMark(0), None), *(comments[_ABOVE] or ())]
        above, beside = "", comments[2 if is_map else 0]
        if _is_block(node[key]):
            above = _moved_down(node[key])
        elif beside:
            line, _, above = beside.value.partition("\n")
            beside.value = f"{line}\n"
    return above


def _front(node: Node) -> Sequence[CommentToken] | None:
    """The comments in front of the first key or item, as ruamel.yaml has them."""
    return (_is_block(node) and node.ca.comment and node.ca.comment[_ABOVE]) or None


def _steps(node: Node) -> Iterator[tuple[Node, int]]:
    """Mappings and lists in lines of their own, and how far they are indented."""
    for value in node.values():
        if _is_block(value) and not _is_shared(value):
            yield value, value.lc.col - node.lc.col
            if isinstance(value, CommentedMap):
                yield from _steps(value)


def _is_block(node: Node) -> bool:
    """Whether a node is a mapping or list of lines."""
    return isinstance(node, CommentedMap | CommentedSeq) and bool(node) and not node.fa.flow_style()


def _is_shared(node: Node) -> bool:
    """Whether a mapping or list has an anchor or a merge key."""
    return isinstance(node, CommentedMap | CommentedSeq) and bool(
        node.anchor.value or getattr(node, "merge", None)
    )


class _Representer(RoundTripRepresenter):
    """Writes null as a word, as `dump_yaml` does."""


_Representer.add_representer(
    type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
)


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 2**20
    yaml.Representer = _Representer
    return yaml


def _same(one: Any, other: Any) -> bool:
    """Whether two values are written alike: 1, 1.0 and true are three."""
    if isinstance(one, dict) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and repr(one) == repr(other)
