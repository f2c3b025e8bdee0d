"""What a trained network is: weights with everything that must agree where they are used."""

from collections.abc import Mapping

from torch import Tensor, nn
from typing_extensions import TypedDict

from cmbml.sky.instrument import Instrument, unlike

FORMAT = 1


class Result(TypedDict):
    """What a network says: fields, resolution, band-limit and beam."""

    fields: str
    nside: int
    lmax: int
    fwhm_arcmin: float


class Trained(TypedDict):
    """What every network that cleans says of itself."""

    bands: Instrument
    result: Result
    epoch: int
    weights: dict[str, object]


def make_checkpoint(
    weights: Mapping[str, Tensor],
    *,
    architecture: Mapping[str, object],
    bands: Instrument,
    **more: object,
) -> dict[str, object]:
    """Put a checkpoint together.

    Parameters
    ----------
    weights
        State of the network.
    architecture
        Name and sizes of the network: plain values.
    bands
        What the bands were like that it learned from.
    more
        What else belongs to it, such as ``normalisation`` and ``epoch``.
    """
    return {
        "format": FORMAT,
        "architecture": dict(architecture),
        "bands": dict(bands),
        **more,
        "weights": dict(weights),
    }


def check_checkpoint(checkpoint: object, **expected: object) -> None:
    """Refuse a checkpoint that belongs to something else.

    Parameters
    ----------
    checkpoint
        What was read.
    expected
        Values that its parts must have, by name: ``bands`` (an `Instrument`), ``architecture``,
        ``normalisation``.

    Raises
    ------
    ValueError
        Where it is no checkpoint, or a part differs; it names the first value that does.
    """
    if not isinstance(checkpoint, Mapping) or checkpoint.get("format") != FORMAT:
        raise ValueError(f"is no checkpoint of format {FORMAT}: train the network again")
    for part, wanted in expected.items():
        found = checkpoint.get(part)
        name, difference = part, _difference(found, wanted)
        if part == "bands":
            name, difference = "instrument", unlike(found, wanted)
        if difference:
            raise ValueError(
                f"the network was trained with another {name}: {difference}: train it again, or use its own"
            )


def _difference(found: object, wanted: object) -> str:
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        keys = [*wanted, *(key for key in found if key not in wanted)]
        parts = ((key, _difference(found.get(key), wanted.get(key))) for key in keys)
        return next((f"{key} {text}" for key, text in parts if text), "")
    if isinstance(wanted, Tensor):
        same = isinstance(found, Tensor) and found.shape == wanted.shape and bool((found == wanted).all())
        return "" if same else "has other values"
    return "" if _plain(found) == _plain(wanted) else f"was {_plain(found)}, is {_plain(wanted)}"


def _plain(value: object) -> object:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def load_weights(model: nn.Module, checkpoint: Mapping[str, object]) -> nn.Module:
    """Give a network the weights of a checkpoint.

    Raises
    ------
    ValueError
        Where they are not of this architecture.
    """
    try:
        model.load_state_dict(checkpoint["weights"])
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"the weights are of another architecture: {reason}") from None
    return model
