"""Spectra, yaml, checkpoints and manifests that hypothesis spoils.

They are read as numpy, ruamel.yaml and json read them, or refused in one line; of a manifest, what is damaged is
as if it were not there.  The big forms run in `make soak`.
"""

import csv
import io
import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from cmbml.clean.origins import origin_of
from cmbml.core.errors import DataError
from cmbml.core.handlers import get_handler
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.record.facts import read_manifest
from cmbml.core.spec.config import load_config
from cmbml.core.spec.encoding import read_text
from cmbml.methods.nn.checkpoint import check_checkpoint, make_checkpoint
from tests.conftest import ROOT
from tests.spoiling import damaged, expect_one_line, soak, spoilt, taken

SPECTRA = "# ell TT EE\n# note\n" + "".join(f"{ell} {ell + 0.5} {ell * 1e-3:.17g}\n" for ell in range(6))
TABLE = 'band,scale,mean\n30,0,0.25\n"a ""b""",1,\nlow,2,1e-3\n'
PARAMS = (ROOT / "params.yaml").read_text(encoding="utf-8")
PIPELINE = {
    path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "pipeline").glob("*.yaml"))
}
MANIFEST = "\n".join(
    json.dumps(record)
    for record in (
        {
            "recipe": "r1",
            "stage": "nilc",
            **{
                part: {}
                for part in ("params", "code", "packages", "handlers", "settings", "declared", "reads")
            },
        },
        *(
            {
                "sim": sim,
                "fingerprint": f"f{sim}",
                "recipe": "r1",
                "identity": [None, "test", "test", sim],
                "inputs": {"cmb": "c"},
                "files": {f"{sim}/map.fits": [10 + sim, "md5"]},
            }
            for sim in range(3)
        ),
    )
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("spoilt_records")


def spectra_are_those_of_numpy(path):
    spectra = taken(get_handler("PowerSpectrum").read, path)
    if spectra is None:
        return
    lines = read_text(path).split("\n")[1:]
    theirs = np.loadtxt(io.StringIO("\n".join(lines)), ndmin=2)
    assert np.isfinite(theirs).all()
    np.testing.assert_array_equal(np.column_stack(list(spectra.values())), theirs[:, 1:])


def manifest_has_no_other_facts(path):
    found = read_manifest(path, "data")
    for sim, fact in found.facts.items():
        assert fact.sim == sim
        assert all(isinstance(size, int) and isinstance(md5, str) for size, md5 in fact.files.values())
    assert all(isinstance(header["reads"], dict) for header in found.headers.values())


def cells_are_those_of_csv(path):
    rows = taken(get_handler("Csv").read, path)
    if rows is None:
        return
    names, *theirs = csv.reader(io.StringIO(path.read_bytes().decode(), newline=""))
    for ours, cells in zip(rows, theirs, strict=True):
        assert list(ours) == list(dict.fromkeys(names))
        for name, cell in zip(names, cells, strict=True):
            assert (
                names.count(name) > 1
                or str(ours[name] if ours[name] is not None else "") == cell
                or float(cell) == pytest.approx(ours[name], nan_ok=True)
            )


@pytest.mark.parametrize(
    ("holds", "text", "examples"),
    [
        (spectra_are_those_of_numpy, SPECTRA, 30),
        (manifest_has_no_other_facts, MANIFEST, 30),
        (cells_are_those_of_csv, TABLE, 30),
        pytest.param(cells_are_those_of_csv, TABLE, 1000, marks=pytest.mark.soak),
        pytest.param(spectra_are_those_of_numpy, SPECTRA, 2000, marks=pytest.mark.soak),
        pytest.param(manifest_has_no_other_facts, MANIFEST, 2000, marks=pytest.mark.soak),
    ],
)
def test_spoilt_text_is_read_right_or_refused_in_one_line(folder, holds, text, examples):
    @settings(max_examples=examples)
    @given(spoilt([text]))
    def property_(content):
        path = folder / "mine.txt"
        path.write_bytes(content)
        holds(path)

    property_()


@pytest.fixture
def repository(folder):
    """A repository of yaml files alone."""
    shutil.copytree(ROOT / "pipeline", folder / "pipeline", dirs_exist_ok=True)
    (folder / "params.yaml").write_text(PARAMS, encoding="utf-8")
    return folder


@soak(8, 300)
def test_yaml_files_are_those_of_ruamel_or_refused_in_one_line(repository, examples):
    @settings(max_examples=examples)
    @given(st.sampled_from(["params.yaml"] * 3 + list(PIPELINE)), st.data())
    def property_(name, data):
        path = repository / ("params.yaml" if name == "params.yaml" else f"pipeline/{name}")
        right = PARAMS if name == "params.yaml" else PIPELINE[name]
        path.write_bytes(data.draw(spoilt([right])))
        try:
            config = taken(lambda _: load_config(repository), path)
            if config is not None:
                taken(lambda _: Plan(config).stages, path)
                seed = YAML(typ="safe").load(path.read_bytes()) if name == "params.yaml" else None
                assert seed is None or seed["seed"] == config.params.seed
        finally:
            path.write_text(right, encoding="utf-8")

    property_()


BANDS = {"names": ["30", "44"], "freq_ghz": [28.4, 44.1], "fwhm_arcmin": [32.4, 27.1]}
VALUES = (
    st.none() | st.integers() | st.floats() | st.text(max_size=4) | st.just({}) | st.just([torch.zeros(2)])
)


class Foreign:
    """What no checkpoint may hold."""


@st.composite
def states(draw):
    """Bytes of a checkpoint, of which now and then a part is another, or which is something else."""
    if draw(st.integers(0, 9)) == 0:
        return draw(
            st.sampled_from(
                [pickle.dumps(BANDS), pickle.dumps(Foreign()), b"", b"PK\x03\x04", SPECTRA.encode()]
            )
        )
    state = make_checkpoint(
        {"a": torch.arange(3.0)}, architecture={"name": "x"}, bands=BANDS, result={"fields": "T", "nside": 8}
    )
    if draw(st.integers(0, 2)) == 0:
        state[draw(st.sampled_from(list(state)))] = draw(VALUES)
    if draw(st.integers(0, 9)) == 0:
        state = draw(VALUES)
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=draw(st.booleans()))
    return buffer.getvalue()


@soak(25, 1500)
def test_checkpoints_are_taken_or_refused_in_one_line(folder, examples):
    @settings(max_examples=examples)
    @given(damaged(states()))
    def property_(content):
        path = folder / "model_best.pt"
        path.write_bytes(content)
        state = taken(get_handler("PyTorchModel").read, path)
        try:
            check_checkpoint(state, bands=BANDS)
        except ValueError as error:
            expect_one_line(DataError(str(error)))

    property_()


PROVENANCE = "method: nilc\nmaps:\n- {band: low, md5: abc}\nresults: {cleaned.fits: 900150983cd24fb0d6963f7d28e17f72}\n"


@soak(15, 500)
def test_provenances_are_believed_or_refused_in_one_line(folder, examples):
    (folder / "cleaned.fits").write_bytes(b"abc")

    @settings(max_examples=examples)
    @given(spoilt([PROVENANCE]))
    def property_(content):
        (folder / "cleaned_provenance.yaml").write_bytes(content)
        origin = taken(origin_of, folder / "cleaned.fits")
        assert origin is None or all(origin.maps)

    property_()


@st.composite
def arrays(draw):
    buffer = io.BytesIO()
    array = np.arange(12.0).reshape(draw(st.sampled_from([(12,), (3, 4), (12, 1)])))
    if draw(st.integers(0, 9)) == 0:
        np.savez(buffer, array)
    else:
        np.save(buffer, array.astype(draw(st.sampled_from(["f8", ">f4", "i2", "S3", "O"]))))
    return buffer.getvalue()


@soak(20, 1000)
def test_arrays_are_those_of_numpy_or_refused_in_one_line(folder, examples):
    @settings(max_examples=examples)
    @given(damaged(arrays()))
    def property_(content):
        path = folder / "mine.npy"
        path.write_bytes(content)
        array = taken(get_handler("NumpyMap").read, path)
        if array is not None:
            np.testing.assert_array_equal(array, np.load(io.BytesIO(content)))

    property_()
