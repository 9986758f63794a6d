"""Grid and cabling -> layout: rows get their heights, boxes their places, groups their frames; inches, y downwards."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from compiler.drawing.cabling import Cabling, cable
from compiler.drawing.diagram import Box, Diagram, Group, by_level
from compiler.drawing.grid import LANE, Grid, grid
from compiler.drawing.strokes import Place

HEADING, TEXT, LABEL = 8.5, 7.0, 7.5  # points
TALL, SHORT = 0.42, 0.2  # heights of boxes, in inches
MARGIN = 0.09  # from a box's edge to its text
SPACE, CHANNEL, STRIP = 0.2, 0.09, 0.15
Ruler = Callable[[str, float, bool], float]


@dataclass(frozen=True)
class Frame:
    """A rounded rectangle around boxes of a group; ``label`` is the left end of the group's name, at half its height."""

    group: Group
    depth: int
    left: float
    right: float
    top: float
    bottom: float
    label: tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """``gaps``: upper and lower end of the gap below each row. ``side``: the x of the first lane for wires."""

    grid: Grid
    cabling: Cabling
    places: dict[str, Place]
    frames: tuple[Frame, ...]
    gaps: list[tuple[float, float]]
    side: float
    left: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Run:
    """Rows of a group without other sites between; ``alone``: no other site stands in them at all."""

    group: Group
    depth: int
    first: int
    last: int
    members: tuple[str, ...]
    alone: bool

    @property
    def padding(self) -> float:
        return 0.06 + 0.05 * self.depth

    @property
    def headroom(self) -> float:
        """Room above the first row: names of groups that stand alone are at the left, those of others on top."""
        return self.padding + (0 if self.alone else STRIP * (self.depth + 1))


def lay_out(shown: Diagram, ruler: Ruler) -> Layout:
    """Places for everything; ``ruler(text, points, bold)`` measures in inches."""
    widths = _widths(shown, ruler)
    found = grid(shown, widths)
    cabling = cable(shown, found)
    runs = [
        run for depth, groups in by_level(shown.groups).items() for group in groups for run in _runs(group, depth, found, shown)
    ]
    tops, heights = _rows(shown, found, cabling, runs)
    places = {
        name: Place(found.x[name], tops[row] + heights[row] / 2, widths[name], _height(shown.boxes[name]))
        for name, row in found.row.items()
    }
    ends = [top + height for top, height in zip(tops, heights, strict=True)]
    frames, left, right = _frames(runs, places, found, tops, ends, ruler)
    side = right + 0.16
    lanes = max(cabling.trunks.values(), default=-1) + 1
    gaps = list(zip(ends, tops[1:], strict=False))
    return Layout(found, cabling, places, frames, gaps, side, left, side + lanes * LANE, ends[-1])


def _widths(shown: Diagram, ruler: Ruler) -> dict[str, float]:
    """Sites, input and output are all as wide as the widest of them needs."""
    needed = {name: _needed(box, ruler) + 2 * MARGIN for name, box in shown.boxes.items()}
    common = max(width for name, width in needed.items() if shown.boxes[name].kind != "junction")
    return {name: width if shown.boxes[name].kind == "junction" else common for name, width in needed.items()}


def _needed(box: Box, ruler: Ruler) -> float:
    if box.kind == "junction":
        return ruler(box.heading, TEXT, False)
    return max(ruler(box.heading, HEADING, True) + 0.2 + ruler(box.shape, TEXT, False), ruler(box.text, TEXT, False))


def _height(box: Box) -> float:
    return SHORT if box.kind == "junction" else TALL if box.text else 0.27


def _runs(group: Group, depth: int, found: Grid, shown: Diagram) -> list[Run]:
    """Split a group where sites of others lie between its rows."""
    runs: list[list[str]] = []
    for name in sorted(group.members, key=lambda name: found.row[name]):
        between = range(found.row[runs[-1][-1]] + 1, found.row[name]) if runs else range(0)
        foreign = any(shown.boxes[other].kind == "site" for row in between for other in found.rows[row])
        if runs and not foreign:
            runs[-1].append(name)
        else:
            runs.append([name])
    return [_run(group, depth, names, found, shown) for names in runs]


def _run(group: Group, depth: int, names: Sequence[str], found: Grid, shown: Diagram) -> Run:
    first, last = found.row[names[0]], found.row[names[-1]]
    inside = {other for row in range(first, last + 1) for other in found.rows[row] if shown.boxes[other].kind == "site"}
    return Run(group, depth, first, last, tuple(names), inside <= set(names))


def _rows(shown: Diagram, found: Grid, cabling: Cabling, runs: Sequence[Run]) -> tuple[list[float], list[float]]:
    """Upper ends and heights of rows: room between them for frames that begin or end and for channels."""
    tops: list[float] = []
    y = 0.0
    for row, names in enumerate(found.rows):
        if row:
            begins = max((run.headroom for run in runs if run.first == row), default=0.0)
            ends = max((run.padding for run in runs if run.last == row - 1), default=0.0)
            widest = max(len(found.rows[row - 1]), len(names)) > 1
            y += max(SPACE + 0.3 * widest, begins + ends + 0.1) + CHANNEL * len(cabling.channels.get(row - 1, ()))
        tops.append(y)
        y += max(_height(shown.boxes[name]) for name in names)
    return tops, [max(_height(shown.boxes[name]) for name in names) for names in found.rows]


def _frames(
    runs: Sequence[Run], places: Mapping[str, Place], found: Grid, tops: Sequence[float], ends: Sequence[float], ruler: Ruler
) -> tuple[tuple[Frame, ...], float, float]:
    """Frames from the inside out, each level with a column for its names at the left; the left and right end of all."""
    left, right = found.left(range(len(found.rows))), found.right()
    left = min([left, *(x for xs in found.threads.values() for x in xs.values())]) - 0.03
    frames: list[Frame] = []
    for depth in sorted({run.depth for run in runs}):
        level = [run for run in runs if run.depth == depth]
        if any(run.alone for run in level):
            left -= 0.14 + max(ruler(run.group.name, LABEL, True) for run in level if run.alone)
            right += 0.05
        for run in level:
            top, bottom = tops[run.first] - run.headroom, ends[run.last] + run.padding
            if run.alone:
                frames.append(Frame(run.group, depth, left, right, top, bottom, (left + 0.07, min((top + bottom) / 2, top + 1.5))))
            else:
                inside = [places[name] for name in run.members]
                start, end = min(p.left for p in inside) - run.padding, max(p.right for p in inside) + run.padding
                frames.append(Frame(run.group, depth, start, end, top, bottom, (start + 0.07, top + STRIP / 2 + 0.02)))
    return tuple(frames), min([left, *(f.left for f in frames)]), max([right, *(f.right for f in frames)])
