"""Files that hypothesis spoils, and what a reader may make of them: what is right, or a refusal in one line."""

import gzip

import pytest
from hypothesis import strategies as st

from cmbml.core.errors import CmbmlError

NASTY = [
    *("nan", "inf", "-inf", "1e999", "-80", "0", "1e-320", "1_0", "true", "null", "None", "--", "1d3", "٣"),
    *(
        '""',
        '"',
        "'",
        "#",
        "\t",
        "\r",
        "\n",
        "\n\n",
        ",",
        ";",
        ":",
        " ",
        "\0",
        "\xb5",
        "\ufeff",
        "\u2028",
        "\x1c",
    ),
    *(
        "!",
        "&a",
        "*a",
        "{",
        "[",
        "- ",
        "~",
        "!!python/name:os.system",
        "!astropy.units.Unit {unit: kg}",
        "\\",
    ),
]


@st.composite
def spoilt(draw, texts):
    """Bytes of a text of which a few pieces were replaced by others, in some encoding, maybe cut short."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 6)))
        text = text[:start] + draw(st.sampled_from(NASTY) | st.text(max_size=3)) + text[end:]
    encoding = draw(
        st.sampled_from(["utf-8"] * 4 + ["utf-8-sig", "utf-16", "latin-1", "utf-16-le", "utf-32"])
    )
    content = text.encode(encoding, "replace")
    return content[: draw(st.integers(0, len(content)))] if draw(st.integers(0, 9)) == 0 else content


def expect_one_line(error):
    """Each problem that an error tells of is one line."""
    for problem in getattr(error, "problems", [error]):
        assert len(str(problem).splitlines()) == 1, problem


def taken(read, path):
    """What a reader makes of a file; None where it refuses it in one line."""
    try:
        return read(path)
    except CmbmlError as error:
        expect_one_line(error)
        return None


def soak(quick, big):
    return pytest.mark.parametrize("examples", [quick, pytest.param(big, marks=pytest.mark.soak)])


class Content(bytes):
    """Bytes that are not shown where a property fails: the file that they went to is still there."""

    def __repr__(self) -> str:
        return f"{len(self)} bytes"


# Places in files, whose length may be another each time that they are made.
PARTS = st.floats(0, 1, exclude_max=True)


@st.composite
def damaged(draw, contents):
    """Bytes that are now and then packed, cut short, or have a few others in their place."""
    content = draw(contents)
    if draw(st.integers(0, 5)) == 0:
        content = gzip.compress(content, 1, mtime=0)
    if content and draw(st.integers(0, 5)) == 0:
        flipped = bytearray(content)
        for part in draw(st.lists(PARTS, min_size=1, max_size=4)):
            flipped[int(part * len(content))] = draw(st.integers(0, 255))
        content = bytes(flipped)
    return Content(content[: int(draw(PARTS) * len(content))] if draw(st.integers(0, 9)) == 0 else content)
