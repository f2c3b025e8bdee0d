"""Values change, and all else of a file stays to the letter."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbml.core.spec.yamledit import edited
from cmbml.core.spec.yamlio import dump_yaml, parse_yaml, read_yaml
from tests.conftest import ROOT

OWN = """\
# mine

methods: [
  nilc,  # fast
  hilc,
]
seed:   7   # lucky
flow: { b: 1,  c: 0x10 }   # spaced
nothing: ~
empty:
quoted: 'single'
deep:
    four: 1.50
    # between
    items:
      - a   # one
      # and
      - b
words: plain words
  over two lines
block: |
  text
   more
base: &base {p: 1}
other:
  <<: *base
  q: 2
also: *base
last: 1  # end
# the end
"""


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
        ({"methods": ["nilc", "hilc", "x"]}, "  hilc,\n", "  hilc, x,\n"),
        ({"methods": ["hilc"]}, "  nilc,  # fast\n  hilc", "  hilc"),
        ({"deep": {"four": 1.5, "items": ["a", "b", "010"]}}, "      - b\n", "      - b\n      - '010'\n"),
        ({"deep": {"four": 1.5, "items": ["b"]}}, "      - a   # one\n", ""),
        (
            {"deep": {"four": 1.5, "items": ["b", "a"]}},
            "      - a   # one\n      # and\n      - b\n",
            "      # and\n      - b\n      - a\n",
        ),
        ({"deep": {"four": 2, "items": ["a", "b"]}}, "1.50", "2"),
        ({"flow": {"b": 1, "c": 3}}, " { b: 1,  c: 0x10 }   # spaced\n", "   # spaced\n  b: 1\n  c: 3\n"),
        ({"nothing": 3}, "~", "3"),
        ({"empty": 3}, "empty:", "empty: 3"),
        ({"empty": {"a": [1, 2]}}, "empty:\n", "empty:\n  a: [1, 2]\n"),
        ({"block": "new"}, "|\n  text\n   more\n", "new\n"),
        ({"words": 1}, "plain words\n  over two lines", "1"),
        ({"other": {"p": 5, "q": 2}}, "  <<: *base\n", "  p: 5\n  <<: *base\n"),
        ({"other": {"q": 2}}, "other:\n  <<: *base\n  q: 2\n", "other:\n  q: 2\n"),
        ({"other": {"q": 2, "r": 3}}, "  <<: *base\n  q: 2\n", "  q: 2\n  r: 3\n"),
        ({"base": {"p": 2}}, "{p: 1}", "{p: 2}"),
        ({"also": {"p": 2}}, "also: *base", "also:\n  p: 2"),
        ({"new": {"a": 1}}, "# end\n", "# end\n\nnew:\n  a: 1\n"),
        ({"new": "on"}, "# end\n", "# end\nnew: 'on'\n"),
    ],
)
def test_only_what_differs_is_written(values, old, new):
    assert OWN.count(old) == 1
    text = changed(**values)
    assert parse_yaml(text, "text") == {**parse_yaml(OWN, "own"), **values}
    if "base" not in values:
        assert text == OWN.replace(old, new)
    else:
        # What shares its values keeps its own.
        assert text.startswith(OWN.replace(old, new)[: OWN.index("other:")])


def test_line_breaks_of_others_stay():
    dos = OWN.replace("\n", "\r\n")
    values = {**parse_yaml(OWN, "own"), "empty": {"a": 1}, "seed": 8}
    assert edited(dos, values) == edited(OWN, values).replace("\n", "\r\n")


def test_keys_are_taken_out_with_their_lines():
    values = parse_yaml(OWN, "own")
    del values["deep"], values["last"], values["quoted"]
    text = edited(OWN, values)
    assert "deep" not in text
    assert "# end\n" not in text
    assert text.endswith("also: *base\n# the end\n")


def test_values_are_taken_from_other_files_as_they_stand_there():
    other = 'rate: 2.0e-3\nbands:\n  "30": {f: 1.50}  # first\n  "44": {f: 2.0}\nlist: [1,  2]\n'
    base = "bands: {}\nrate: 1\nlist: [3]\nown: 1\n"
    text = edited(base, {**parse_yaml(other, "other"), "own": 2}, [other])
    assert text == (
        'bands:\n  "30": {f: 1.50}  # first\n  "44": {f: 2.0}\nrate: 2.0e-3\nlist: [1,  2]\nown: 2\n'
    )


def test_a_line_in_brackets_is_opened_and_closed_again():
    base = "splits:\n  train: {n: 3, population: a}  # mine\n"
    opened = edited(
        base, {"splits": {"train": {"n": 2, "population": "a"}}}, ["splits: {train: {n: 2}}", base]
    )
    assert opened == "splits:\n  train:  # mine\n    n: 2\n    population: a\n"
    assert edited(opened, parse_yaml(base, "base"), [base]) == base


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
