import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbml.core import Namer
from cmbml.core.errors import NamerError

TEMPLATE = "{root}/{dataset}/{stage}/{split}/{sim}/obs_{freq}.fits"


@pytest.fixture
def namer(tmp_path):
    return Namer(tmp_path, {"dataset": "mini", "stage": "observations"})


def test_context_fills_the_template(namer, tmp_path):
    with namer.set_contexts({"split": "test", "sim": 3}), namer.set_context("freq", "100"):
        assert namer.path(TEMPLATE) == tmp_path / "data/mini/observations/test/sim0003/obs_100.fits"


def test_tags_come_before_the_context(namer, tmp_path):
    with namer.set_contexts({"split": "test", "sim": 3}):
        assert namer.path("{split}/{sim}", sim=7) == tmp_path / "test/sim0007"


def test_missing_tag_names_tag_template_and_stage(namer):
    with pytest.raises(NamerError, match=r"\{split\}.*\{root\}/\{dataset\}.*'observations'"):
        namer.path(TEMPLATE)


def test_unknown_tag_suggests_the_closest(namer):
    with pytest.raises(NamerError, match="did you mean 'split'"), namer.set_context("splt", "test"):
        pass


@pytest.mark.parametrize("value", ["../x", "/etc", "a/b", "..", ""])
def test_values_that_leave_the_root_are_refused(namer, value):
    with pytest.raises(NamerError, match="would leave"), namer.set_contexts({"split": value, "sim": 0}):
        namer.path("{root}/{split}")


@given(st.lists(st.tuples(st.sampled_from(["split", "freq", "method"]), st.sampled_from("abc")), max_size=6))
def test_contexts_end_as_they_began(tmp_path_factory, steps):
    namer = Namer(tmp_path_factory.getbasetemp())
    before = dict(namer.context)

    def enter(rest):
        if rest:
            with namer.set_context(*rest[0]):
                assert namer.context[rest[0][0]] == rest[0][1]
                enter(rest[1:])

    enter(steps)
    assert namer.context == before


def test_a_failure_inside_restores_the_context(namer):
    with pytest.raises(RuntimeError), namer.set_context("split", "test"):
        raise RuntimeError
    assert "split" not in namer.context
