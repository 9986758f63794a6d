"""A pen for pictures in inches: boxes, curves, arrowheads and texts on one matplotlib figure, each with what hovering says."""

import math
from dataclasses import dataclass, field
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch, Patch, PathPatch, Polygon
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.textpath import TextToPath

from compiler.drawing.strokes import Point, Stroke

FAMILIES = ["DejaVu Sans", "sans-serif"]
CODES = {"M": [Path.MOVETO], "L": [Path.LINETO], "Q": [Path.CURVE3] * 2, "C": [Path.CURVE4] * 3}
HEAD = 0.075  # length of an arrowhead, in inches
DASHES = (3.5, 1.5)  # in line widths
Place = Literal["left", "center", "right"]


def ruler(text: str, points: float, bold: bool) -> float:
    """The width of a text in inches, with room for the hinting of small type and for other sans-serif fonts."""
    width, _, _ = TextToPath().get_text_width_height_descent(text, _font(points, bold), ismath=False)
    return 1.04 * float(width) / 72


def _font(points: float, bold: bool) -> FontProperties:
    return FontProperties(family=FAMILIES, size=points, weight="bold" if bold else "normal")


@dataclass
class Pen:
    """Draws in the order of its calls. ``tips``: what is said of each part that has a name of its own."""

    figure: Figure
    axes: Axes
    tips: dict[str, str] = field(default_factory=dict)
    calls: int = 0

    @classmethod
    def on_paper(cls, left: float, right: float, top: float, bottom: float) -> "Pen":
        """A white sheet whose data coordinates are inches, y downwards."""
        figure = Figure(figsize=(right - left, bottom - top), facecolor="white")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(left, right)
        axes.set_ylim(bottom, top)
        return cls(figure, axes)

    def box(
        self, corner: Point, size: Point, fill: str, edge: str, name: str = "", radius: float = 0.06, dashed: bool = False
    ) -> None:
        """A rectangle with rounded corners; ``corner`` is its upper left one."""
        style = f"round,pad=0,rounding_size={min(radius, size[1] / 2)}"
        line = "--" if dashed else "-"
        self._add(
            FancyBboxPatch(corner, *size, boxstyle=style, facecolor=fill, edgecolor=edge, linewidth=0.9, linestyle=line), name
        )

    def curve(self, strokes: tuple[Stroke, ...], colour: str, width: float, dashed: bool = False, name: str = "") -> None:
        """One curve of several strokes; dashes start anew in each."""
        pieces = [piece for stroke in strokes for piece in stroke]
        codes = [code for piece in pieces for code in CODES[piece.verb]]
        path = Path([point for piece in pieces for point in piece.points], codes)
        line = (0.0, DASHES) if dashed else "-"
        patch = PathPatch(
            path, facecolor="none", edgecolor=colour, linewidth=width, linestyle=line, capstyle="butt", joinstyle="round"
        )
        self._add(patch, name)

    def head(self, tip: Point, towards: Point, colour: str) -> None:
        """An arrowhead at ``tip`` that comes from the direction of ``towards``."""
        length = math.dist(tip, towards) or 1.0
        x, y = (towards[0] - tip[0]) / length, (towards[1] - tip[1]) / length
        base = tip[0] + x * HEAD, tip[1] + y * HEAD
        wing = 0.45 * HEAD
        corners = [tip, (base[0] - y * wing, base[1] + x * wing), (base[0] + y * wing, base[1] - x * wing)]
        self._add(Polygon(corners, closed=True, facecolor=colour, edgecolor="none", linewidth=0.0), "")

    def text(self, at: Point, text: str, points: float, colour: str, bold: bool = False, place: Place = "left") -> None:
        """A line of text around the height ``at[1]``."""
        self.calls += 1
        written = Text(
            *at, text, color=colour, fontproperties=_font(points, bold), horizontalalignment=place,
            verticalalignment="center_baseline", parse_math=False, zorder=self.calls,
        )  # fmt: skip
        self.axes.add_artist(written)

    def _add(self, patch: Patch, name: str) -> None:
        self.calls += 1
        patch.set_zorder(self.calls)
        patch.set_clip_on(False)
        if name:
            patch.set_gid(name)
        self.axes.add_patch(patch)
