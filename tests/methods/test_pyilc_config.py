import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cmbml.interfaces.pyilc.config import Channel, by_beam, failure, last_lines, nilc_config
from cmbml.interfaces.pyilc.params import PyilcParams

CHANNELS = [
    Channel("c/100.fits", 100.89, 43.0),
    Channel("a/30.fits", 28.4, 75.0),
    Channel("b/857", 866.8, 20.6),
]
RUN = {"output_folder": "out", "nside": 64, "lmax": 160, "peaks": (50, 100, 161), "ilc_bias": 0.001}


@given(st.permutations(CHANNELS))
def test_maps_beams_and_frequencies_share_the_order_of_beams(channels):
    config = nilc_config(channels, **RUN, fwhm_out=20.6)
    assert config["freq_map_files"] == ["a/30.fits", "c/100.fits", "b/857"]
    assert config["beam_FWHM_arcmin"] == [75.0, 43.0, 20.6]
    assert config["freqs_delta_ghz"] == [28.4, 100.89, 866.8]


def test_numbers_of_scales_and_channels_agree_with_the_lists():
    config = nilc_config(CHANNELS, **RUN, fwhm_out=20.6)
    assert config["N_scales"] == len(config["ellpeaks"]) + 1 == 3
    assert (config["ellmin"], config["ellpeaks"]) == (50, [100, 161])
    assert config["N_freqs"] == 3
    assert (config["ELLMAX"], config["N_side"], config["perform_ILC_at_beam"]) == (160, 64, 20.6)
    assert config["output_dir"] == "out/"


def test_equal_beams_are_ordered_by_frequency():
    same = [Channel("x", 545.0, 5.0), Channel("y", 353.0, 5.0)]
    assert [channel.map_file for channel in by_beam(same)] == ["y", "x"]


def test_one_scale_is_refused():
    with pytest.raises(ValueError, match="two needlet scales"):
        nilc_config(CHANNELS, **RUN | {"peaks": (50,)}, fwhm_out=20.6)


def test_last_lines_skip_empty_ones():
    assert last_lines("a\n\n b \nc\n\n", 2) == [" b", "c"]
    assert last_lines("") == []


def test_failure_ends_with_what_the_program_said():
    printed = "reading\nTraceback\n  File x\nValueError: no such map"
    said = "reading | Traceback | File x | ValueError: no such map"
    assert failure(printed, 1) == f"pyilc ended with code 1: {said}"
    assert failure("", -9) == "pyilc ended with code -9: it printed nothing"


def test_parameters_need_two_peaks():
    good = {"ilc_bias": 0.01, "peaks": [50, 161]}
    assert PyilcParams(**good).peaks == (50, 161)
    for bad in ({"peaks": [50]}, {"peaks": [60, 50]}, {"ilc_bias": np.nan}):
        with pytest.raises(ValidationError):
            PyilcParams(**good | bad)
