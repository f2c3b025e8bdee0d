"""Draw the house: which room imports which, read from the code, and count the arrows.

``python docs/pictures/house.py`` writes house.svg and prints the counts; a test says when the picture is not
what the code gives, or when an arrow runs upwards.  Nothing is imported: the arrows come from syntax trees.
"""

import ast
import tomllib
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from html import escape
from pathlib import Path
from typing import NamedTuple

from draw import BLUE, GREEN, GREY, HERE, INK, LINE, PURPLE, WHITE, YELLOW

ROOT = HERE.parent.parent
CORE = "cmbml.core"
# What each room holds; a room without words is an error.
WORDS = {
    "cli": "the command line",
    "tasks": "Luigi's tasks",
    "report": "pages from finished data",
    "clean": "any maps, without a pipeline",
    "exchange": "fetch, publish, import, export",
    "authoring": "new methods, schemas",
    "interfaces": "programs of others",
    "analysis": "scores, spectra, tables",
    "methods": "a package for each method",
    "sky": "cosmology, galaxy, noise, masks",
    "views": "dataset, status, trace",
    "engine": "makes, checks, speaks to DVC",
    "record": "what was made, locks, cost",
    "plan": "pieces, reads, fingerprints",
    "stage": "executors, sealed parameters",
    "files": "assets, checksums",
    "handlers": "file formats",
    "spec": "what describes a dataset",
    "errors": "one line: what, where, remedy",
}
# Colours of arrows, by the room that they lead to.
HUES = ("#b4540a", "#2563a8", "#2e7d4f", "#8a3f9e", "#a6761d", "#c0392b", "#117a8b", "#5b6470", "#3d44b8")
FLOOR, GAP, TOP, WIDTH = 44, 13, 150, 218
LEFT, RIGHT = 96, 406
ROOF = "M360 14 686 104H34Z"


class Arrow(NamedTuple):
    """One room, or module, imports another."""

    source: str
    target: str


class House(NamedTuple):
    """Rooms from the top floor down, and who imports whom.

    Attributes
    ----------
    applications, science, core
        Names of the rooms, in the order of the contracts in pyproject.toml.
    modules
        Imports between modules.
    """

    applications: tuple[str, ...]
    science: tuple[str, ...]
    core: tuple[str, ...]
    modules: frozenset[Arrow]

    @property
    def arrows(self) -> frozenset[Arrow]:
        """Imports between rooms; core as a whole is a room too, for those outside of it."""
        pairs = {Arrow(_room(a), _room(b)) for a, b in self.modules}
        whole = {Arrow(_wing(a), _wing(b)) for a, b in self.modules}
        return frozenset(arrow for arrow in pairs | whole if arrow.source != arrow.target)

    def among(self, rooms: Iterable[str]) -> list[Arrow]:
        """Arrows between some rooms, in the order in which these are given."""
        order = list(rooms)
        found = (arrow for arrow in self.arrows if arrow.source in order and arrow.target in order)
        return sorted(found, key=lambda arrow: (order.index(arrow.source), order.index(arrow.target)))

    def upward(self, rooms: Iterable[str]) -> list[Arrow]:
        """Arrows that lead to a room above."""
        order = list(rooms)
        return [a for a in self.among(order) if order.index(a.target) < order.index(a.source)]

    def lent(self) -> list[str]:
        """Modules of the science that core imports."""
        science = tuple(f"cmbml.{room}." for room in self.science)
        return sorted(
            {b.rpartition(".")[2] for a, b in self.modules if _wing(a) == "core" and b.startswith(science)}
        )

    def by_executors(self, room: str) -> bool:
        """Whether only executors of a room import core."""
        sources = [a for a, b in self.modules if _room(a) == room and _wing(b) == "core"]
        return all("executors" in module.split(".") for module in sources)


def read_house(root: Path = ROOT) -> House:
    """Read the order of rooms from the contracts, and the imports from the code."""
    contracts = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = [each["layers"] for each in contracts["contracts"] if each["type"] == "layers"]
    outer = [tuple(_name(room) for room in layer.split("|")) for layer in layers[0]]
    # The command line is the roof.
    return House(
        outer[1],
        tuple(room for layer in outer[2:] for room in layer),
        tuple(layers[1]),
        frozenset(_imports(root)),
    )


def circle(arrows: Iterable[Arrow]) -> list[str]:
    """Rooms or modules that import each other in a circle; empty where there is none."""
    graph: dict[str, set[str]] = {}
    for source, target in arrows:
        graph.setdefault(source, set()).add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def counts(house: House) -> str:
    """What the picture shows, in a sentence."""
    arrows, upward = house.among(house.core), house.upward(house.core)
    rounds = circle(house.modules)
    return (
        f"{len(house.core)} rooms of core, {len(arrows)} arrows between them, "
        f"{len(upward) or 'none'} upwards, {' -> '.join(rounds) or 'no circle'}"
    )


def _imports(root: Path) -> Iterator[Arrow]:
    files = [*root.glob("cmbml/**/*.py"), *root.glob("tasks/**/*.py")]
    modules = {
        ".".join(f.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): f for f in files
    }
    for name, file in modules.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                inner = (f"{node.module}.{alias.name}" for alias in node.names)
                targets = [each if each in modules else node.module or "" for each in inner]
            else:
                targets = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            yield from (Arrow(name, target) for target in targets if target in modules and target != name)


def _name(module: str) -> str:
    return module.strip().rpartition(".")[2]


def _room(module: str) -> str:
    parts = module.split(".")
    return parts[2] if module.startswith(f"{CORE}.") else _wing(module)


def _wing(module: str) -> str:
    return module.split(".")[1] if module.startswith("cmbml.") else module.partition(".")[0]


def house_svg(house: House) -> str:
    """The picture."""
    science_top = TOP + len(house.applications) * (FLOOR + GAP) + FLOOR + GAP
    places = _floors(house.applications, TOP) | _floors(house.science, science_top)
    core = _floors(house.core, TOP)
    bottom = TOP + len(house.core) * (FLOOR + GAP)
    parts = [
        f'<rect width="720" height="{bottom + 62}" rx="10" fill="{WHITE}"/>',
        f'<path d="{ROOF}" fill="{GREY}" stroke="{LINE}" stroke-linejoin="round"/>',
        _box("cli", 205, 58, YELLOW, 150, 36),
        _box("tasks", 365, 58, YELLOW, 150, 36),
        _wall(LEFT, TOP, len(house.applications), "applications"),
        _wall(LEFT, science_top, len(house.science), "science"),
        _wall(RIGHT, TOP, len(house.core), "core"),
        *_arcs(house.among(places), places, LEFT, -1),
        *_arcs(house.among(core), core, RIGHT + WIDTH, 1),
        *_bridges(house, places),
        *_steps(house, bottom),
        *(_box(room, LEFT, y, GREEN if room in house.science else PURPLE) for room, y in places.items()),
        *(_box(room, RIGHT, y, BLUE) for room, y in core.items()),
        *_doors(house.among(places), places, LEFT),
        *_doors(house.among(core), core, RIGHT + WIDTH - 5),
        _text(360, bottom + 20, counts(house), 12, "600"),
        _text(
            360, bottom + 40, f"dashed: executors only · core takes {', '.join(house.lent())} from sky", 12
        ),
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {bottom + 62}" width="720" '
        f'font-family="system-ui, sans-serif" font-size="14" fill="{INK}" text-anchor="middle" role="img">'
    )
    title = "<title>The rooms of cmbml; an arrow leads from a room to one that it imports</title>"
    tips = "".join(_tip(hue) for hue in (*HUES, LINE))
    return "\n".join([head, title, f"<defs>{tips}</defs>", *parts, "</svg>", ""])


def _floors(rooms: Iterable[str], top: int) -> dict[str, int]:
    return {room: top + floor * (FLOOR + GAP) for floor, room in enumerate(rooms)}


def _wall(x: int, top: int, floors: int, name: str) -> str:
    """The wing around some floors, with its name over it."""
    height = floors * (FLOOR + GAP) - GAP + 16
    rect = f'<rect x="{x - 8}" y="{top - 8}" width="{WIDTH + 16}" height="{height}" rx="10" fill="#f7f9fb" '
    return f'{rect}stroke="#c5ccd3"/>\n' + _text(x + WIDTH // 2, top - 14, name, 12)


def _box(room: str, x: int, y: int, fill: str, width: int = WIDTH, height: int = FLOOR) -> str:
    rect = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="7" fill="{fill}" stroke="{LINE}"/>'
    middle, line = x + width // 2, y + height // 2
    return "\n".join(
        [rect, _text(middle, line - 3, room, 14, "600"), _text(middle, line + 13, WORDS[room], 12)]
    )


def _text(x: int, y: int, text: str, size: int, weight: str = "400") -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}">{escape(text)}</text>'


def _tip(hue: str) -> str:
    return (
        f'<marker id="tip{hue[1:]}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="5" markerHeight="5" '
        f'orient="auto"><path d="M0 0 8 4 0 8z" fill="{hue}"/></marker>'
    )


def _line(path: str, hue: str, style: str = "") -> str:
    return (
        f'<path d="{path}" fill="none" stroke="{hue}" stroke-width="1.5" {style}'
        f'marker-end="url(#tip{hue[1:]})"/>'
    )


def _arcs(arrows: list[Arrow], floors: dict[str, int], wall: int, side: int) -> Iterator[str]:
    """Arrows along a wall, nested: the farther they lead, the wider they swing."""
    for arrow in arrows:
        here, there = floors[arrow.source], floors[arrow.target]
        leaving = sorted((floors[a.target] for a in arrows if a.source == arrow.source), reverse=True)
        coming = sorted((floors[a.source] for a in arrows if a.target == arrow.target), reverse=True)
        start = here + FLOOR // 2 + 2 + _slot(leaving.index(there), len(leaving))
        end = there + 3 + _slot(coming.index(here), len(coming))
        reach = wall + side * (12 + round(0.185 * abs(there - here)))
        path = f"M{wall} {start}C{reach} {start} {reach} {end} {wall + side} {end}"
        yield _line(path, _hue(arrow.target, floors))


def _doors(arrows: list[Arrow], floors: dict[str, int], x: int) -> Iterator[str]:
    """A strip at every room that is imported, in the colour of the arrows that lead to it."""
    for room in sorted({arrow.target for arrow in arrows}, key=list(floors).index):
        hue = _hue(room, floors)
        yield f'<rect x="{x}" y="{floors[room] + 1}" width="5" height="{FLOOR - 2}" rx="2" fill="{hue}"/>'


def _hue(room: str, floors: dict[str, int]) -> str:
    return HUES[list(floors).index(room) % len(HUES)]


def _slot(index: int, number: int) -> int:
    """Place of one of several arrows at half a wall."""
    return round((index + 0.5) * (FLOOR / 2 - 5) / number)


def _bridges(house: House, places: dict[str, int]) -> Iterator[str]:
    """Between the wings: who imports core, and what core takes from the science."""
    for room, y in places.items():
        if Arrow(room, "core") in house.arrows:
            dashed = 'stroke-dasharray="4 3" ' if house.by_executors(room) else ""
            level = y + FLOOR // 2 - (8 if Arrow("core", room) in house.arrows else 0)
            yield _line(f"M{LEFT + WIDTH} {level}H{RIGHT - 10}", LINE, dashed)
        if Arrow("core", room) in house.arrows:
            yield _line(f"M{RIGHT - 8} {y + FLOOR // 2 + 8}H{LEFT + WIDTH + 2}", LINE)


def _steps(house: House, bottom: int) -> Iterator[str]:
    """From the roof down into the wings, and the ground."""
    for room, x in (("cli", 290), ("tasks", 430)):
        if Arrow(room, "core") in house.arrows:
            yield _line(f"M{x} 94V118H{RIGHT + 60}V{TOP - 10}", LINE)
    if any(Arrow("cli", room) in house.arrows for room in house.applications):
        yield _line(f"M250 94V{TOP - 10}", LINE)
    yield f'<path d="M20 {bottom}H700" stroke="{LINE}" stroke-width="2"/>'


if __name__ == "__main__":
    found = read_house()
    (HERE / "house.svg").write_text(house_svg(found), encoding="utf-8")
    print(counts(found))
