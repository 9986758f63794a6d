"""What the lines, boxes and frames of a picture mean: an entry for each kind that it shows."""

from collections.abc import Callable
from dataclasses import dataclass

from compiler.drawing.diagram import Diagram
from compiler.drawing.layout import TEXT
from compiler.drawing.look import FILLS, FORWARD, FROZEN, GREY, INK, colour, dashed, shade
from compiler.drawing.pen import Pen, ruler
from compiler.drawing.strokes import Point, rounded

ROW = 0.17  # inches
SAMPLE = 0.36


@dataclass(frozen=True)
class Entry:
    """``sample`` draws with a pen from a point to the right, 0.36 inches wide."""

    text: str
    sample: Callable[[Pen, Point], None]

    @property
    def width(self) -> float:
        return SAMPLE + 0.09 + ruler(self.text, TEXT, False)

    def draw(self, pen: Pen, at: Point) -> None:
        self.sample(pen, at)
        pen.text((at[0] + SAMPLE + 0.09, at[1]), self.text, TEXT, INK)


def legend(shown: Diagram) -> list[Entry]:
    """Wires first, then what is below them."""
    found = [Entry(f"{style.label} ({count})", _arrow(colour(style), 1.6, dashed(style))) for style, count in shown.styles.items()]
    found.append(Entry("forward pass", _arrow(FORWARD, 1.3, False)))
    kinds = {box.kind for box in shown.boxes.values()}
    if "junction" in kinds:
        found.append(Entry("a value that several regions read", _box(FILLS["junction"], 0.06, False)))
    if any(box.frozen for box in shown.boxes.values()):
        found.append(Entry("frozen: hears nobody, does not learn", _box(FROZEN, 0.03, True)))
    if shown.groups:
        found.append(Entry("blocks and the modules around them", _box(shade(0), 0.03, False)))
    return found


def _arrow(paint: str, width: float, broken: bool) -> Callable[[Pen, Point], None]:
    def sample(pen: Pen, at: Point) -> None:
        end = at[0] + SAMPLE, at[1]
        pen.curve((rounded([at, end]),), paint, width, broken)
        pen.head(end, at, paint)

    return sample


def _box(paint: str, radius: float, broken: bool) -> Callable[[Pen, Point], None]:
    def sample(pen: Pen, at: Point) -> None:
        pen.box((at[0], at[1] - 0.055), (SAMPLE, 0.11), paint, GREY, radius=radius, dashed=broken)

    return sample
