"""Diagram -> grid: each box's row and column, and which way a forward link takes that skips rows.

Rows follow the longest path from the input. What one box sends over several rows is a *thread*: it runs beside rows of a
single box in a *lane* at the left, and through rows of several boxes between them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from compiler.drawing.diagram import Diagram

GAP = 0.25  # inches between neighbours of a row
LANE = 0.13  # inches between lanes
HEAVY, LIGHT = 1.0, 1e-6


@dataclass
class Grid:
    """``row`` of each box and ``rows`` of boxes; ``x`` of box centres in inches; ``threads``: source -> ``{row: x}``.

    ``lanes``: the threads that run at the left of everything.
    """

    row: dict[str, int]
    rows: list[list[str]]
    widths: Mapping[str, float]
    x: dict[str, float] = field(default_factory=dict)
    threads: dict[str, dict[int, float]] = field(default_factory=dict)
    lanes: frozenset[str] = frozenset()

    def left(self, rows: Iterable[int]) -> float:
        """The leftmost point of boxes and of threads between them in these rows."""
        found = [0.0]
        for row in rows:
            found += [self.x[name] - self.widths[name] / 2 for name in self.rows[row]]
            found += [xs[row] for source, xs in self.threads.items() if row in xs and source not in self.lanes]
        return min(found)

    def right(self) -> float:
        """The rightmost point of all boxes and threads."""
        return max(
            [self.x[name] + self.widths[name] / 2 for name in self.row] + [x for xs in self.threads.values() for x in xs.values()]
        )

    def outermost(self, name: str, side: int = 1) -> bool:
        """Whether no box of its row is further right, or for ``side=-1`` further left."""
        return all(side * self.x[other] <= side * self.x[name] for other in self.rows[self.row[name]])


def grid(shown: Diagram, widths: Mapping[str, float]) -> Grid:
    """Rows by longest path, columns below what each box reads."""
    row = _rows(shown)
    rows: list[list[str]] = [[] for _ in range(max(row.values()) + 1)]
    for name in shown.boxes:
        rows[row[name]].append(name)
    found = Grid(row, rows, widths)
    reach = {source: max(row[t] for s, t in shown.links if s == source) for source, _ in shown.links}
    spans = {source: range(row[source] + 1, last) for source, last in reach.items() if last > row[source] + 1}
    found.lanes = frozenset(source for source, span in spans.items() if all(len(rows[r]) == 1 for r in span))
    found.threads = {source: dict.fromkeys(span, 0.0) for source, span in spans.items()}
    for number in range(len(rows)):
        _place_row(number, found, shown)
    taken = stacked({source: (float(spans[source][0]), float(spans[source][-1])) for source in found.lanes})
    for source, lane in taken.items():
        edge = found.left(range(row[source], reach[source] + 1))
        found.threads[source] = dict.fromkeys(spans[source], edge - 0.2 - lane * LANE)
    return found


def _rows(shown: Diagram) -> dict[str, int]:
    row: dict[str, int] = {}
    for name in shown.boxes:
        row[name] = max((row[source] + 1 for source, target in shown.links if target == name), default=0)
    return row


def _place_row(number: int, found: Grid, shown: Diagram) -> None:
    """Columns of one row: below the mean of what each box reads from the row above, boxes stronger than threads."""
    wanted: list[tuple[float, int, str]] = []
    for source, xs in found.threads.items():
        if number in xs and source not in found.lanes:
            wanted.append((xs.get(number - 1, found.x[source]), 0, source))
    for name in found.rows[number]:
        sources = [source for source, target in shown.links if target == name]
        above = [found.x[source] for source in sources if found.row[source] == number - 1]
        distant = [source for source in sources if found.row[source] < number - 1 and source not in found.lanes]
        passing = [found.threads[source][number - 1] for source in distant]
        near = above or passing or [0.0]
        wanted.append((sum(near) / len(near), 1, name))
    wanted.sort(key=lambda entry: entry[:2])
    sizes = [found.widths[name] if kind else 0.0 for _, kind, name in wanted]
    apart = [GAP + (a + b) / 2 for a, b in pairwise(sizes)]
    placed = spread([entry[0] for entry in wanted], [HEAVY if entry[1] else LIGHT for entry in wanted], apart)
    for (_, kind, name), x in zip(wanted, placed, strict=True):
        if kind:
            found.x[name] = x
        else:
            found.threads[name][number] = x


def spread(wanted: Sequence[float], weights: Sequence[float], apart: Sequence[float]) -> list[float]:
    """Positions nearest to the wanted ones (weighted squares) that keep their order and distance: isotonic regression."""
    offsets = [sum(apart[:k]) for k in range(len(wanted))]
    pools: list[tuple[float, float, int]] = []
    for value, weight, offset in zip(wanted, weights, offsets, strict=True):
        mean, mass, count = value - offset, weight, 1
        while pools and pools[-1][0] > mean:
            before, heavy, several = pools.pop()
            mean = (before * heavy + mean * mass) / (heavy + mass)
            mass, count = heavy + mass, several + count
        pools.append((mean, mass, count))
    level = [mean for mean, _, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(level, offsets, strict=True)]


def stacked(spans: Mapping[str, tuple[float, float]]) -> dict[str, int]:
    """Interval colouring: a lane for each span so that no two in a lane overlap; the short ones take the near lanes."""
    taken: list[list[tuple[float, float]]] = []
    lanes: dict[str, int] = {}
    for name in sorted(spans, key=lambda name: (spans[name][1] - spans[name][0], spans[name], name)):
        first, last = spans[name]
        lane = next((k for k, held in enumerate(taken) if all(last < a or b < first for a, b in held)), len(taken))
        if lane == len(taken):
            taken.append([])
        taken[lane].append(spans[name])
        lanes[name] = lane
    return lanes
