"""Passbands of an instrument: what each band makes of a frequency, from a table in text."""

import re
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from cmbml.core.errors import ConfigError
from cmbml.core.spec.encoding import read_text
from cmbml.core.spec.numbers import Finite, Frequency, parsed

_HEADER = re.compile(r"#\s*(convention|nominal)\s*:\s*(\S+)")
_CONVENTIONS = ("power", "rj")


class Passband(BaseModel):
    """Response of a band by frequency."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    convention: Literal["power", "rj"]
    nominal_ghz: Frequency | None = None
    freq_ghz: tuple[Frequency, ...]
    response: tuple[Finite, ...]

    @property
    def digest(self) -> str:
        """What tells it from another: convention, nominal frequency and all numbers."""
        content = repr((self.convention, self.nominal_ghz, self.freq_ghz, self.response))
        return f"{self.convention} {sha256(content.encode()).hexdigest()[:16]}"


def read_passband(path: Path) -> dict[str, Any]:
    """Read a passband, as `Passband` takes it.

    Parameters
    ----------
    path
        Text.  ``# convention: power`` says that the response weighs power, as HFI's do, ``rj`` that it weighs
        Rayleigh-Jeans temperature, as LFI's; ``# nominal: 545`` at which frequency, GHz, brightness is quoted
        in this band.  Then rows of a frequency, GHz, and a response in any unit, with a comma or blanks
        between.

    Raises
    ------
    ConfigError
        Where the convention is missing, or a row has not two numbers.
    DataError
        Where the file is not text.
    """
    if not path.is_file():
        raise ConfigError(f"{path.name}: no such file in {path.parent.name}: add it, or leave the cell blank")
    lines = read_text(path).split("\n")
    said = {found[1]: found[2] for line in lines if (found := _HEADER.match(line))}
    if said.get("convention", "") not in _CONVENTIONS:
        raise ConfigError(f"{path.name}: lacks the line '# convention: power', or rj: add it")
    freqs: list[float] = []
    response: list[float] = []
    for number, line in enumerate(lines, start=1):
        cells = line.partition("#")[0].replace(",", " ").split()
        if cells and cells != ["GHz", "response"]:
            _add((freqs, response), cells, f"{path.name}, line {number}")
    values: dict[str, Any] = {
        "convention": said["convention"],
        "freq_ghz": freqs,
        "response": response,
    }
    if "nominal" in said:
        values["nominal_ghz"] = _number(Frequency, said["nominal"], f"{path.name}: nominal")
    return values


def _add(columns: tuple[list[float], list[float]], cells: list[str], where: str) -> None:
    if len(cells) != len(columns):
        raise ConfigError(f"{where}: {len(cells)} columns, expected two: frequency in GHz and response")
    for column, kind, cell in zip(columns, (Frequency, Finite), cells, strict=True):
        column.append(_number(kind, cell, where))


def _number(kind: Any, text: str, where: str) -> float:
    try:
        return float(parsed(kind, text))
    except ValueError as error:
        raise ConfigError(f"{where}: {error}: mend or leave out this row") from None
