"""yaml is read as DVC reads it, and written so that DVC reads the same."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scanner import ScannerError

from cmbml.core.errors import ConfigError
from cmbml.core.spec.yamlio import dump_yaml, parse_yaml, read_yaml
from tests.conftest import ROOT

WORDS = [
    "no",
    "yes",
    "on",
    "off",
    "y",
    "n",
    "true",
    "True",
    "TRUE",
    "tRue",
    "null",
    "Null",
    "~",
    ".nan",
    ".NaN",
    ".inf",
    "-.inf",
    "+.Inf",
    "nan",
    "inf",
    "<<",
    "=",
    "010",
    "007",
    "08",
    "0o17",
    "0o8",
    "0b11",
    "0b2",
    "0x1F",
    "0xg",
    "1_000",
    "_1",
    "-_",
    "._",
    "1.",
    ".5",
    ".5e3",
    ".5e+3",
    "1e5",
    "1e-05",
    "1.5E3",
    "e5",
    "1:30",
    "12:30:00",
    "2001-12-14",
    "2001-1-4",
    "2001-99-14",
]
SCALARS = st.one_of(
    st.sampled_from(WORDS),
    st.text(alphabet="0123456789+-._eExXobBaF:", max_size=9),
    st.from_regex(
        r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ][0-9]{1,2}:[0-9]{2}:[0-9]{2}(\.[0-9]{0,6})?"
        r"( ?(Z|[-+][0-9]{1,2}(:[0-9]{2})?))?)?",
        fullmatch=True,
    ),
    st.text(max_size=6),
)
PLACES = ["a: {}", "- {}", "{{a: {}}}", "{}: 1", "a: '{}'", "{}", "b: &x {{c: {}}}\nd: {{<<: *x, e: {}}}"]
PLACES += [f"a: !!{tag} {{}}" for tag in ("str", "int", "float", "bool", "null", "timestamp")]
TEXTS = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" \n"), max_size=6)
PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, st.sampled_from(WORDS))
VALUES = st.one_of(PLAIN, st.lists(PLAIN, max_size=3), st.dictionaries(TEXTS, PLAIN, max_size=3))
# How ruamel.yaml refuses what it cannot read.
NO_ANSWER = (YAMLError, ValueError, AttributeError, IndexError, KeyError)


def same(one, other):
    """Equal in kind, value and order; NaN is NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return same(list(one), list(other)) and same([*one.values()], [*other.values()])
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (one != one and other != other)  # noqa: PLR0124


def as_dvc(text):
    return YAML(typ="safe").load(text)


def read(text):
    return parse_yaml(text, "some.yaml")


@settings(max_examples=150, deadline=None)
@given(SCALARS, st.sampled_from(PLACES))
def test_every_word_is_what_it_is_for_dvc(scalar, place):
    text = place.format(scalar, scalar)
    # A lone ! is text in C and null in Python.
    assume(scalar.strip() != "!")
    try:
        wanted = as_dvc(text)
    except ScannerError:
        # An older parser in C, which knows no colon within a word in brackets.
        return
    except NO_ANSWER:
        with pytest.raises(ConfigError):
            read(text)
        return
    assert same(read(text), wanted)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("010", 10),
        ("007", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", 1000),
        ("1e-05", 1e-05),
        ("1:30", "1:30"),
        ("12:30:00", "12:30:00"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        (".inf", float("inf")),
    ],
)
def test_words_that_yaml_1_1_reads_otherwise(given, value):
    assert same(read(f"a: {given}")["a"], value)


@pytest.mark.parametrize("file", [*sorted(ROOT.glob("p*/*.yaml")), ROOT / "params.yaml"])
def test_what_ships_is_what_it_is_for_dvc(file):
    assert same(read_yaml(file), as_dvc(file.read_text(encoding="utf-8")))


def test_merge_keys_are_merged():
    text = "a: &a {p: 1, q: 2}\nb: &b {<<: *a, q: 3, r: 4}\nc: {<<: [*b, *a], s: 5}\nd: {<<: {t: 6}, t: 7}\n"
    assert same(read(text), as_dvc(text))
    assert read(text)["c"] == {"p": 1, "q": 3, "r": 4, "s": 5}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: 'a' stands twice"),
        ("a: {<<: &x {p: 1}, q: 1, q: 2}", "line 1: 'q' stands twice"),
        ("x: &x {p: 1}\na:\n  <<: *x\n  <<: *x", "line 4: '<<' stands twice"),
        ("1: a\ntrue: b", "line 2: 'True' stands twice"),
        ("a: !tag 1", "line 1: unknown tag '!tag': leave it out"),
        ("a: !!python/name:os.system", "unknown tag 'tag:yaml.org,2002:python/name:os.system'"),
        ("a: !!omap [b: 1]", "unknown tag"),
        ("a: =", "'=' means something else in yaml: put it in quotes"),
        ("a: <<", "'<<' means something else in yaml: put it in quotes"),
        ("a: -_", "line 1: '-_' is no whole number"),
        ("a: ._", "line 1: '._' is no number"),
        ("a: 2001-99-14", "line 1: '2001-99-14' is no date"),
        ("a: !!bool 3", "'3' is neither true nor false"),
        ("a: !!timestamp x", "'x' is no date"),
        ("{[a]: 1}", "a list or mapping cannot be a key"),
        ("a: &a [*a]", "line 1: found unconstructable recursive node"),
        ("a: 1\n---\nb: 2", "but found another document"),
        ("a: [", "line "),
        ("a: \x00", "not readable as yaml"),
    ],
)
def test_what_cannot_be_read_is_one_line(text, told):
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value).startswith("some.yaml")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lists_without_end_are_one_line():
    with pytest.raises(ConfigError, match="too deep"):
        read("[" * 500 + "]" * 500)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(TEXTS, VALUES, max_size=3), st.booleans())
def test_what_is_written_is_read_again_by_both(value, flow):
    text = dump_yaml(value, flow=flow)
    assert same(read(text), value)
    assert same(as_dvc(text), value)
