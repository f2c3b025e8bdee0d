"""Chains by seeking, and transmissions."""

import pytest

from cmbml.core.errors import DataError
from cmbml.core.handlers import get_handler


def chain(tmp_path, rows):
    path = tmp_path / "H0"
    path.write_text("".join(f"{number:10d} {value:16.8e}\n" for number, value in rows))
    return path


def test_rows_are_read_by_seeking(tmp_path):
    column = get_handler("ChainColumn").read(chain(tmp_path, [(i + 1, 60 + i / 10) for i in range(1000)]))
    assert len(column) == 1000
    assert column[0] == 60.0
    assert column[999] == pytest.approx(159.9)


def test_a_million_rows_are_never_read_whole(tmp_path):
    """A sparse file of 140 GB: reading it whole would not end."""
    path = chain(tmp_path, [(1, 60.0)])
    width = path.stat().st_size
    rows = 5 * 10**9
    with path.open("r+b") as file:
        file.seek((rows - 1) * width)
        file.write(f"{rows:10d} {72.5:16.8e}\n".encode())
    column = get_handler("ChainColumn").read(path)
    assert len(column) == rows
    assert column[rows - 1] == 72.5


def test_missing_rows_are_noticed(tmp_path):
    column = get_handler("ChainColumn").read(chain(tmp_path, [(1, 60.0), (2, 61.0), (4, 62.0)]))
    assert column[1] == 61.0
    with pytest.raises(DataError, match="row 2 is numbered 3: rows are missing"):
        column[2]


def test_ragged_files_are_refused(tmp_path):
    path = chain(tmp_path, [(1, 60.0), (2, 61.0)])
    path.write_text(path.read_text() + "3 6")
    with pytest.raises(DataError, match="cut short or ragged"):
        get_handler("ChainColumn").read(path)
    path.write_text("# H0 of the chain\n" * 2)
    with pytest.raises(DataError, match="not a row number and a value"):
        get_handler("ChainColumn").read(path)[1]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(tmp_path, value):
    column = get_handler("ChainColumn").read(chain(tmp_path, [(1, 60.0), (2, value)]))
    assert column[0] == 60.0
    with pytest.raises(DataError, match="row 1 is not finite"):
        column[1]
