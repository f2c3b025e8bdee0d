"""Draw the pictures of the documents: small SVGs in the colours of pipeline.svg.

``python docs/pictures/draw.py`` writes them beside this file; a test says when they are not current.
"""

from collections.abc import Callable
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
YELLOW, BLUE, GREEN, PURPLE, GREY, WHITE = "#fff4d6", "#dcebff", "#dff3e0", "#f2e3f7", "#eceff2", "#ffffff"
INK, LINE = "#1c2128", "#768390"


def box(x: int, y: int, w: int, h: int, fill: str, *lines: str, mono: int = 0) -> str:
    """A box with centred lines of text, the first in bold, or in a fixed width of that size."""
    middle = y + h / 2 - 9 * (len(lines) - 1) + 5
    first = f'font-family="monospace" font-size="{mono}"' if mono else 'font-weight="600"'
    styles = [first, *['font-size="12"'] * len(lines)]
    texts = [
        f'<text x="{x + w / 2:g}" y="{middle + 18 * i:g}" {style}>{escape(line)}</text>'
        for i, (line, style) in enumerate(zip(lines, styles, strict=False))
    ]
    rect = f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="7" fill="{fill}" stroke="{LINE}"/>'
    return "\n".join([rect, *texts])


def arrow(*points: tuple[int, int]) -> str:
    """A line through points, with a tip at the last."""
    path = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{LINE}" stroke-width="2" marker-end="url(#tip)"/>'


def note(x: int, y: int, text: str, *, anchor: str = "middle") -> str:
    """A small line of text on a white ground, so that it reads on dark pages too."""
    width = 6.4 * len(text) + 8
    left = {"middle": x - width / 2, "start": x - 4, "end": x - width + 4}[anchor]
    rect = f'<rect x="{left:g}" y="{y - 13}" width="{width:g}" height="18" rx="4" fill="{WHITE}"/>'
    return f'{rect}\n<text x="{x}" y="{y}" font-size="12" text-anchor="{anchor}">{escape(text)}</text>'


def picture(title: str, height: int, *parts: str) -> str:
    """A whole SVG, 720 wide."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {height}" width="720" '
        f'font-family="system-ui, sans-serif" font-size="14" fill="{INK}" text-anchor="middle" role="img">'
    )
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="5" markerHeight="5" '
        f'orient="auto"><path d="M0 0 8 4 0 8z" fill="{LINE}"/></marker></defs>'
    )
    return "\n".join([head, f"<title>{escape(title)}</title>", tip, *parts, "</svg>", ""])


def stage() -> str:
    return picture(
        "A stage is a function: data and parameters in, other data out",
        130,
        box(10, 15, 170, 44, YELLOW, "parameters", "declared keys only"),
        box(10, 75, 170, 44, GREY, "data in", "outputs of other stages"),
        box(270, 40, 180, 54, BLUE, "stage", "a function"),
        box(540, 45, 170, 44, GREEN, "data out", "owned by this stage alone"),
        arrow((180, 37), (225, 37), (225, 58), (268, 58)),
        arrow((180, 97), (225, 97), (225, 76), (268, 76)),
        arrow((450, 67), (538, 67)),
    )


def described_once() -> str:
    return picture(
        "Pipeline and parameters are described once; everything else is derived",
        190,
        box(10, 20, 210, 60, YELLOW, "pipeline/*.yaml", "stages, assets, order"),
        box(10, 105, 210, 60, YELLOW, "params.yaml", "values, splits, methods"),
        box(290, 62, 130, 60, BLUE, "plan", "what should be"),
        arrow((220, 50), (255, 50), (255, 82), (288, 82)),
        arrow((220, 135), (255, 135), (255, 102), (288, 102)),
        *[
            "\n".join(
                [box(500, y, 210, 36, GREEN, name), arrow((420, 92), (455, 92), (455, y + 18), (498, y + 18))]
            )
            for y, name in (
                (5, "check, status, trace"),
                (53, "dvc.yaml"),
                (101, "Luigi tasks"),
                (149, "paths"),
            )
        ],
    )


def executor() -> str:
    return picture(
        "An executor joins a pure function to assets; the engine owns the loop",
        190,
        box(10, 10, 330, 170, BLUE, ""),
        note(175, 32, "executor: one for a block of simulations"),
        box(30, 45, 290, 32, WHITE, "__init__(cfg)  reads the parameters", mono=12),
        box(30, 85, 290, 32, WHITE, "setup()  once for the block", mono=12),
        box(30, 125, 290, 42, WHITE, "process_sim(split, sim)", "for every simulation", mono=12),
        box(430, 20, 130, 60, GREY, "assets_in", "read()"),
        box(580, 20, 130, 60, GREEN, "assets_out", "write()"),
        box(465, 120, 210, 54, YELLOW, "pure function", "arrays in, arrays out"),
        arrow((320, 138), (380, 138), (463, 138)),
        arrow((463, 158), (380, 158), (322, 158)),
        arrow((495, 80), (495, 118)),
        arrow((645, 118), (645, 82)),
    )


def asset() -> str:
    cells = [
        box(395 + 80 * i, 40 + 42 * j, 72, 34, GREEN, f"obs_{band}.fits", mono=9)
        for i, band in enumerate((30, 100, 217, 857))
        for j in range(3)
    ]
    rows = [note(385, 61 + 42 * j, f"sim000{j}", anchor="end") for j in range(3)]
    return picture(
        "An asset is a class of files: a path template and a handler",
        175,
        box(10, 35, 270, 50, YELLOW, "path template", ".../{split}/{sim}/obs_{freq}.fits"),
        box(10, 105, 270, 50, BLUE, "handler", "HealpyMap: how to read and write one"),
        arrow((280, 60), (305, 60), (305, 92), (325, 92)),
        arrow((280, 130), (305, 130), (305, 98), (325, 98)),
        note(545, 28, "one asset: all files of that kind"),
        *rows,
        *cells,
    )


def handler() -> str:
    return picture(
        "A handler writes a temporary file, which gets its name by a rename when it is whole",
        100,
        box(10, 25, 140, 50, BLUE, "data", "in memory"),
        box(290, 25, 150, 50, GREY, "temporary file", "same folder"),
        box(570, 25, 140, 50, GREEN, "file", "whole or absent"),
        arrow((150, 50), (288, 50)),
        arrow((440, 50), (568, 50)),
        note(219, 42, "handler writes"),
        note(504, 42, "rename"),
    )


def namer() -> str:
    return picture(
        "The namer fills a template from the context",
        150,
        box(10, 10, 300, 50, YELLOW, "template", "…/{stage}/{split}/{sim}/obs_{freq}.fits"),
        box(10, 85, 300, 55, BLUE, "context", "dataset mini, split test, sim 3, freq 100"),
        box(400, 45, 310, 55, GREEN, "path", "data/mini/observations/test/sim0003/obs_100.fits"),
        arrow((310, 35), (355, 35), (355, 66), (398, 66)),
        arrow((310, 112), (355, 112), (355, 80), (398, 80)),
    )


def split() -> str:
    return picture(
        "Splits are kept apart: what learns cannot read test",
        170,
        box(10, 20, 130, 40, BLUE, "train", "24 skies"),
        box(10, 68, 130, 40, BLUE, "valid", "4 skies"),
        box(10, 116, 130, 40, GREEN, "test, shifted", "10 skies"),
        box(260, 40, 180, 50, PURPLE, "a stage that learns", "splits: [train, valid]"),
        box(530, 60, 180, 60, YELLOW, "the method", "cleans every split"),
        arrow((140, 40), (200, 40), (200, 58), (258, 58)),
        arrow((140, 88), (200, 88), (200, 72), (258, 72)),
        arrow((440, 65), (485, 65), (485, 82), (528, 82)),
        arrow((140, 136), (485, 136), (485, 98), (528, 98)),
        note(335, 114, "reading test here is an error"),
    )


def population() -> str:
    def region(x: int, y: int, rx: int, ry: int, fill: str, name: str) -> str:
        ring = f'<ellipse cx="{x}" cy="{y}" rx="{rx}" ry="{ry}" fill="{fill}" stroke="{LINE}"/>'
        return f'{ring}\n<text x="{x}" y="{y + 5}" font-size="12">{name}</text>'

    return picture(
        "A population is a named region of the space of skies",
        190,
        f'<rect x="60" y="10" width="380" height="150" fill="{WHITE}" stroke="{LINE}"/>',
        note(250, 180, "amplitude of dust"),
        region(170, 95, 80, 38, BLUE, "nominal"),
        region(335, 60, 80, 38, PURPLE, "dusty"),
        note(100, 28, "index of dust"),
        box(520, 25, 190, 44, BLUE, "splits train, valid, test", "population: nominal"),
        box(520, 100, 190, 44, PURPLE, "split shifted", "population: dusty"),
        arrow((520, 47), (470, 47), (470, 95), (252, 95)),
        arrow((520, 122), (480, 122), (480, 60), (417, 60)),
    )


def random_numbers() -> str:
    return picture(
        "A random number is known by its purpose, not by its turn",
        110,
        box(10, 30, 330, 50, YELLOW, "purpose", "(seed, stream, simulation, component, channel)"),
        box(420, 30, 120, 50, BLUE, "hash", "SeedSequence"),
        box(610, 30, 100, 50, GREEN, "generator"),
        arrow((340, 55), (418, 55)),
        arrow((540, 55), (608, 55)),
        note(360, 104, "sim 3 is the same among ten or a thousand, on one core or sixteen"),
    )


def fingerprint() -> str:
    sources = ("code (syntax trees)", "declared parameters", "fingerprints of inputs", "which simulation")
    return picture(
        "A result is known by its fingerprint",
        185,
        *[
            "\n".join(
                [
                    box(10, 10 + 42 * i, 190, 34, YELLOW if i < 3 else BLUE, name),
                    arrow((200, 27 + 42 * i), (235, 27 + 42 * i), (235, 90), (268, 90)),
                ]
            )
            for i, name in enumerate(sources)
        ],
        box(270, 65, 130, 50, PURPLE, "fingerprint", "wanted"),
        box(270, 132, 130, 46, GREY, "_manifest.jsonl", "what was made"),
        arrow((400, 90), (470, 90)),
        arrow((400, 155), (435, 155), (435, 98), (470, 98)),
        box(472, 68, 90, 50, WHITE, "equal?"),
        box(610, 30, 100, 40, GREEN, "complete"),
        box(610, 115, 100, 40, BLUE, "make it"),
        arrow((562, 85), (585, 85), (585, 50), (608, 50)),
        arrow((562, 100), (585, 100), (585, 135), (608, 135)),
        note(583, 42, "yes"),
        note(583, 152, "no"),
    )


def profile() -> str:
    return picture(
        "Dataset, profile and experiment",
        150,
        box(10, 50, 160, 50, YELLOW, "profiles/mini.yaml", "every value"),
        box(230, 10, 180, 44, BLUE, "profiles/ml-64.yaml", "other values"),
        box(230, 90, 180, 50, PURPLE, "-S nilc.ilc_bias=0.01", "an experiment"),
        box(520, 10, 190, 44, GREEN, "data/ml-64/", "a dataset of its own"),
        box(520, 90, 190, 50, GREEN, "data/mini/", "versions known to DVC"),
        arrow((170, 70), (200, 70), (200, 32), (228, 32)),
        arrow((170, 82), (200, 82), (200, 115), (228, 115)),
        arrow((410, 32), (518, 32)),
        arrow((410, 115), (518, 115)),
    )


def common_ground() -> str:
    steps = "one beam, lmax, grid, mask"
    return picture(
        "Truth and estimate go the same way before they are compared",
        130,
        box(10, 15, 120, 40, GREEN, "truth"),
        box(10, 75, 120, 40, BLUE, "estimate"),
        box(210, 15, 270, 40, YELLOW, steps),
        box(210, 75, 270, 40, YELLOW, steps),
        box(570, 40, 140, 50, PURPLE, "scores", "and both references"),
        arrow((130, 35), (208, 35)),
        arrow((130, 95), (208, 95)),
        arrow((480, 35), (525, 35), (525, 58), (568, 58)),
        arrow((480, 95), (525, 95), (525, 74), (568, 74)),
    )


def luigi_in_dvc() -> str:
    def dvc_stage(x: int, name: str) -> str:
        blocks = [box(x + 15 + 62 * i, 75, 54, 34, WHITE, f"{8 * i}-{8 * i + 7}") for i in range(3)]
        return "\n".join(
            [
                box(x, 20, 215, 145, GREEN, ""),
                note(x + 108, 44, f"DVC stage: {name}"),
                *blocks,
                box(x + 40, 124, 140, 30, YELLOW, "manifest"),
                *[arrow((x + 42 + 62 * i, 109), (x + 110, 122)) for i in range(3)],
            ]
        )

    return picture(
        "DVC sees stages and folders; inside a stage Luigi makes simulations in blocks",
        205,
        dvc_stage(10, "observations"),
        dvc_stage(253, "nilc"),
        dvc_stage(495, "comparison"),
        arrow((225, 92), (251, 92)),
        arrow((468, 92), (493, 92)),
        note(360, 195, "white: Luigi tasks, each a block of simulations, resumed one by one"),
    )


PICTURES: tuple[Callable[[], str], ...] = (
    stage,
    described_once,
    executor,
    asset,
    handler,
    namer,
    split,
    population,
    random_numbers,
    fingerprint,
    profile,
    common_ground,
    luigi_in_dvc,
)


def drawn() -> dict[str, str]:
    """All pictures by file name."""
    return {f"{draw.__name__}.svg": draw() for draw in PICTURES}


if __name__ == "__main__":
    for name, text in drawn().items():
        (HERE / name).write_text(text, encoding="utf-8")
