"""Numbers of the command line are checked before any work, and a mistake is told in one line."""

import pytest

from cmbml.cli.entry import main

CLEAN = ("clean", "nilc", "--maps", "{freq}.fits", "--instrument", "planck", "--out", "out.fits")
SCORE = ("score", "--maps", "{sim}.fits", "--split", "test", "--name", "mine")


def told(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    text = capsys.readouterr().err
    assert (caught.value.code, text.count("\n")) == (2, 1), text
    return text


@pytest.mark.parametrize("value", ["nan", "-80", "0", "inf", "1e400", "2deg", "", "20000"])
def test_beams_of_results_are_above_zero(capsys, value):
    assert "--fwhm: should be" in told(capsys, *CLEAN, "--lmax", "40", f"--fwhm={value}")


@pytest.mark.parametrize("value", ["nan", "-80", "inf", "-inf", "1e400", "20000"])
def test_beams_of_maps_of_others_may_be_zero_but_not_below(capsys, value):
    assert "--fwhm: should be" in told(capsys, *SCORE, f"--fwhm={value}")


@pytest.mark.parametrize("value", ["-1", "1", "nan", "40.5", "1e400", "99999999"])
@pytest.mark.parametrize("command", [(*CLEAN, "--fwhm", "80"), SCORE], ids=["clean", "score"])
def test_band_limits_are_whole_numbers(capsys, command, value):
    assert "--lmax: should be" in told(capsys, *command, f"--lmax={value}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (*CLEAN, "--fwhm", "80", "--lmax", "40", "--threads", "0"),
            "--threads: should be greater than or equal",
        ),
        (("run", "cmb", "--sim", "-1"), "--sim: should be greater than or equal to 0"),
        (("regenerate", "cmb", "--split", "test", "--sim", "-1", "--into", "x"), "--sim: should be greater"),
        (("fetch", "--jobs", "0"), "--jobs: should be greater than or equal to 1"),
        (("fetch", "--count", "-2"), "--count: should be greater than or equal to 1"),
        (("push", "--jobs", "none"), "--jobs: should be a valid integer"),
        (
            ("export", "webdataset", "--into", "x", "--shard-mb", "nan"),
            "--shard-mb: should be a finite number",
        ),
        (("score", "--fwhm", "80"), "required: --maps, --split, --name: see `cmbml score --help`"),
        (("scroe",), "invalid choice: 'scroe'"),
        (("run", "--sims", "1"), "unrecognized arguments: --sims"),
    ],
)
def test_other_mistakes_are_told_alike(capsys, arguments, message):
    assert message in told(capsys, *arguments)
