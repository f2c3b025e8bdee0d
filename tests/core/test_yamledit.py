"""Values change, and all else of a file stays to the letter."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbml.core.spec.yamledit import edited
from cmbml.core.spec.yamlio import dump_yaml, parse_yaml, read_yaml
from tests.conftest import ROOT

OWN = """\
# mine

methods: [nilc, hilc]
seed: 7   # lucky
flow: {b: 1, c: 0x10}   # in brackets
nothing: null
quoted: 'single'

# deep
deep:
    four: 1.50
    # between
    items:
      - a   # one
      # and
      - b

    # below
    five: 2.0e-3
words: plain words
block: |
    text
     more
# shared
base: &base {p: 1}
other:
    <<: *base
    q: 2
also: *base
last: 1  # end
# the end
"""
# What ruamel.yaml writes otherwise, wherever it stands.
LOOSE = """\
a: [
  1,  # one
  2,
]
b:   ~
c: {  d: 1  }
"""


DEEP = parse_yaml(OWN, "own")["deep"]


def changed(**values):
    return edited(OWN, {**parse_yaml(OWN, "own"), **values})


@pytest.mark.parametrize("file", sorted(ROOT.glob("p*/*.yaml")), ids=lambda file: file.name)
def test_the_same_values_are_the_same_text(file):
    text = file.read_text(encoding="utf-8")
    assert edited(text, read_yaml(file)) == text


@pytest.mark.parametrize(
    ("values", "old", "new"),
    [
        ({"seed": 8}, "7 ", "8 "),
        ({"methods": ["nilc", "hilc", "x"]}, "hilc]", "hilc, x]"),
        ({"methods": ["hilc"]}, "[nilc, hilc]", "[hilc]"),
        ({"methods": []}, "[nilc, hilc]", "[]"),
        ({"deep": {**DEEP, "items": ["a", "b", "010"]}}, "      - b\n", "      - b\n      - '010'\n"),
        ({"deep": {**DEEP, "items": ["b"]}}, "      - a   # one\n", ""),
        (
            {"deep": {**DEEP, "items": ["b", "a"]}},
            "      - a   # one\n      # and\n      - b\n",
            "      # and\n      - b\n      - a\n",
        ),
        ({"deep": {**DEEP, "items": ["c"]}}, "      - a   # one\n      # and\n      - b\n", "      - c\n"),
        ({"deep": {**DEEP, "items": 3}}, ":\n      - a   # one\n      # and\n      - b\n", ": 3\n"),
        ({"deep": {**DEEP, "four": 2}}, "1.50", "2"),
        ({"deep": {**DEEP, "six": {"x": [1]}}}, "2.0e-3\n", "2.0e-3\n    six:\n        x: [1]\n"),
        ({"flow": {"b": 2, "c": 16}}, "b: 1", "b: 2"),
        ({"flow": {"b": 1, "d": 16}}, "c: 0x10}  ", "d: 16}    "),
        ({"flow": 3}, "{b: 1, c: 0x10}", "3              "),
        ({"nothing": 3}, "null", "3"),
        ({"nothing": {"a": [1, 2]}}, " null\n", "\n    a: [1, 2]\n"),
        ({"quoted": "double"}, "'single'", "'double'"),
        ({"words": 1}, "plain words", "1"),
        ({"other": {"q": 2}}, "    <<: *base\n", ""),
        ({"other": {"p": 1, "q": 3}}, "    <<: *base\n    q: 2\n", "    p: 1\n    q: 3\n"),
        ({"also": {"p": 2}}, "also: *base\n", "also:\n    p: 2\n"),
        ({"new": {"a": 1}}, "# end\n", "# end\nnew:\n    a: 1\n"),
        ({"new": "on"}, "# end\n", "# end\nnew: 'on'\n"),
    ],
)
def test_only_what_differs_is_written(values, old, new):
    assert OWN.count(old) == 1
    assert changed(**values) == OWN.replace(old, new)


def test_what_is_shared_keeps_its_value_when_the_first_one_changes():
    text = changed(base={"p": 2})
    assert parse_yaml(text, "text") == {**parse_yaml(OWN, "own"), "base": {"p": 2}}
    assert text.startswith(OWN[: OWN.index("base: ")])
    assert text.endswith("also: *base\nlast: 1  # end\n# the end\n")


def test_what_ruamel_does_not_keep_stays_where_nothing_differs():
    values = parse_yaml(LOOSE, "loose")
    assert edited(LOOSE, values) == LOOSE
    assert edited(LOOSE, {**values, "e": 1}) == "a: [1, 2]\nb: null\nc: {d: 1}\ne: 1\n"


def test_line_breaks_of_others_stay():
    dos = OWN.replace("\n", "\r\n")
    values = {**parse_yaml(OWN, "own"), "nothing": {"a": 1}, "seed": 8}
    assert edited(dos, values) == edited(OWN, values).replace("\n", "\r\n")


def test_keys_are_taken_out_with_their_comments():
    values = parse_yaml(OWN, "own")
    del values["deep"], values["last"], values["quoted"]
    text = OWN.replace(OWN[OWN.index("quoted:") : OWN.index("words:")], "")
    assert edited(OWN, values) == text.replace("last: 1  # end\n", "")


def test_values_are_taken_from_other_files_as_they_stand_there():
    other = """\
rate: 2.0e-3

# of the instrument
bands:
  # the lowest
  "30": {f: 1.50}  # first
  "44": {f: 2.0}
list: [1, "2"]
"""
    base = "rate: 1\nlist: [3]\nown: 1\n"
    text = edited(base, {**parse_yaml(other, "other"), "own": 2}, [other])
    assert text == f"{other}own: 2\n"
    assert edited(text, {**parse_yaml(base, "base"), "own": 1}, [base]) == base


def test_the_first_file_that_says_a_value_lends_it():
    base, wanted = "a: 1\n", {"a": 1, "b": {"c": 2.0, "d": 3.0}}
    text = edited(base, wanted, ["b: {c: 2.00}", "b:\n  c: 2.0  # their c\n  d: 3.00  # their d\n"])
    assert text == "a: 1\nb:\n  c: 2.0  # their c\n  d: 3.00  # their d\n"
    text = edited(base, {"a": 1, "b": {"c": 2.0, "d": 4.0}}, ["b: {c: 2.00}", "b: {c: 2.0, d: 3.0}"])
    assert text == "a: 1\nb:\n  c: 2.00\n  d: 4.0\n"


def test_an_empty_line_before_a_block_is_taken_with_it():
    assert edited("a: 1\n", {"a": 1, "b": {"c": 2}}, ["\nb:\n  c: 2\n"]) == "a: 1\n\nb:\n  c: 2\n"


def test_an_anchor_does_not_count_as_indentation():
    text = "base: &base\n  p: 1\nother: *base\nlast: 1\n"
    assert edited(text, {**parse_yaml(text, "text"), "last": 2}) == text.replace("last: 1", "last: 2")


def test_what_ruamel_writes_wrongly_is_written_without_it():
    text = "a:\n  # It joins the last two lines.\n- {}\n- b\n- c\nd: 1\n"
    wanted = {"a": [{}, "b", "c"], "d": 2}
    assert parse_yaml(edited(text, wanted), "text") == wanted


def test_a_file_of_comments_keeps_them():
    assert edited("# mine\n", {"a": 1}) == "# mine\n\na: 1\n"


SCALARS = st.one_of(
    st.integers(-5, 50),
    st.booleans(),
    st.none(),
    st.sampled_from(["no", "010", "x: y", "# c", "", "a\nb\n", "1:30"]),
)
KEYS = st.one_of(st.sampled_from(["a", "b", "c", "30", "no", "d e", "#k", "<<"]), st.integers(0, 3))
ITEMS = st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.dictionaries(KEYS, SCALARS, max_size=3))
TREES = st.dictionaries(
    KEYS,
    st.one_of(ITEMS, st.lists(ITEMS, max_size=3), st.dictionaries(KEYS, ITEMS, max_size=3)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=20, deadline=None)
@given(TREES, TREES, TREES, st.booleans())
def test_any_values_come_out_of_any_file(given, wanted, other, flow):
    text = "# head\nkept: 1  # kept\n" + (
        dump_yaml(given) if not flow else f"given: {dump_yaml(given, flow=True)}"
    )
    wanted = {"kept": 1, "given": wanted, **wanted}
    changed = edited(text, wanted, [dump_yaml(other)])
    assert parse_yaml(changed, "changed") == wanted
    assert changed.startswith("# head\n")
    assert "kept: 1  # kept\n" in changed
