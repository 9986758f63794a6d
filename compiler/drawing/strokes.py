"""The geometry of a picture: rectangles around a centre, and curves made of lines and quadratic or cubic arcs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Point = tuple[float, float]
RADIUS = 0.07  # inches


@dataclass(frozen=True)
class Place:
    """A box in inches; ``x`` and ``y`` are its centre's, y downwards."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> float:
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height / 2


@dataclass(frozen=True)
class Piece:
    """``M`` moves to a point, ``L`` draws a line there; ``Q`` and ``C`` have one and two control points before it."""

    verb: Literal["M", "L", "Q", "C"]
    points: tuple[Point, ...]


Stroke = tuple[Piece, ...]


def rounded(corners: Sequence[Point], radius: float = RADIUS) -> Stroke:
    """A line through the corners with each of them rounded."""
    pieces = [Piece("M", (corners[0],))]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        cut = min(radius, math.dist(before, corner) / 2, math.dist(corner, after) / 2)
        pieces.append(Piece("L", (_towards(corner, before, cut),)))
        pieces.append(Piece("Q", (corner, _towards(corner, after, cut))))
    return (*pieces, Piece("L", (corners[-1],)))


def sway(points: Sequence[Point]) -> Stroke:
    """A curve through the points that is vertical at each of them."""
    pieces = [Piece("M", (points[0],))]
    for (x1, y1), (x2, y2) in pairwise(points):
        middle = (y1 + y2) / 2
        pieces.append(Piece("L", ((x2, y2),)) if x1 == x2 else Piece("C", ((x1, middle), (x2, middle), (x2, y2))))
    return tuple(pieces)


def _towards(start: Point, end: Point, length: float) -> Point:
    whole = math.dist(start, end) or 1.0
    return start[0] + (end[0] - start[0]) * length / whole, start[1] + (end[1] - start[1]) * length / whole
