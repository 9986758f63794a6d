"""Diagram -> places and paths in pixels, by the layout that pictures of programs have."""

import math
from typing import Any

from compiler.drawing.diagram import Diagram, Style, Wire
from compiler.drawing.layout import Frame, Layout, lay_out
from compiler.drawing.pen import ruler
from compiler.drawing.routes import elbow, link, straight, tapped
from compiler.drawing.strokes import Place, Point, Stroke

PIXELS = 96.0  # an inch
BORDER = 0.2  # inches
SYNAPSES = {  # what a page's style sheet has colours for
    "dense", "sparse", "pointwise", "kernel", "channelwise", "mirror (forward)", "mirror (random)", "mirror (sign)",
}  # fmt: skip


def view(shown: Diagram) -> dict[str, Any]:
    """Everything that is drawn of a diagram, from the back to the front, as plain values; ``y`` runs downwards."""
    laid = lay_out(shown, ruler)
    styles = list(shown.styles)
    corner = laid.left - BORDER, -BORDER
    right = max([laid.right, *(frame.right for frame in laid.frames)]) + BORDER
    drawing = _Drawing(corner)
    return {
        "width": _px(right - corner[0]),
        "height": _px(laid.bottom + BORDER - corner[1]),
        "frames": [drawing.frame(frame) for frame in sorted(laid.frames, key=lambda frame: -frame.depth)],
        "links": [drawing.link(source, target, laid) for source, target in shown.links],
        "wires": [drawing.wire(wire, laid, shown, styles) for wire in (*laid.cabling.tapped, *laid.cabling.straight)],
        "boxes": [
            {
                "name": box.name, "kind": box.kind, "heading": box.heading, "shape": box.shape, "text": box.text,
                "frozen": box.frozen, **drawing.rectangle(laid.places[name]),
            }
            for name, box in shown.boxes.items()
        ],
    }  # fmt: skip


def style_entries(shown: Diagram) -> list[dict[str, Any]]:
    """What the wires' styles mean, in the order by which wires name them."""
    return [
        {
            "label": style.label,
            "count": count,
            "colour": style.synapse.replace(" (", "-").rstrip(")") if style.synapse in SYNAPSES else "other",
            "dashed": not style.learns and style.synapse != "mirror (forward)",
        }
        for style, count in shown.styles.items()
    ]


class _Drawing:
    """Inches of a layout -> pixels from the picture's upper left ``corner``."""

    def __init__(self, corner: Point) -> None:
        self.corner = corner

    def point(self, at: Point) -> Point:
        return _px(at[0] - self.corner[0]), _px(at[1] - self.corner[1])

    def rectangle(self, place: Place) -> dict[str, float]:
        x, y = self.point((place.left, place.top))
        return {"x": x, "y": y, "width": _px(place.width), "height": _px(place.height)}

    def frame(self, frame: Frame) -> dict[str, Any]:
        x, y = self.point((frame.left, frame.top))
        size = {"width": _px(frame.right - frame.left), "height": _px(frame.bottom - frame.top)}
        return {"name": frame.group.name, "depth": frame.depth, "x": x, "y": y, **size, "label": self.point(frame.label)}

    def link(self, source: str, target: str, laid: Layout) -> dict[str, Any]:
        stroke = link(source, target, laid)
        return {"from": source, "to": target, "path": self.path(stroke), "head": self.head(_last(stroke), _before(stroke))}

    def wire(self, wire: Wire, laid: Layout, shown: Diagram, styles: list[Style]) -> dict[str, Any]:
        found: dict[str, Any] = {"from": wire.source, "to": wire.target, "style": styles.index(wire.style), "tip": wire.tip}
        if wire in laid.cabling.straight:
            stroke = straight(wire, laid, shown)
            tail = self.point(stroke[0].points[0])
            return {**found, "path": self.path(stroke), "tail": tail, "head": self.head(_last(stroke), _before(stroke))}
        way, rail = tapped(wire, laid)
        path = "".join(self.path(part) for part in (way, rail, elbow(wire, laid)))
        tail = self.point(way[0].points[0])
        return {**found, "path": path, "tail": tail, "head": self.head(rail[0].points[0], rail[1].points[0])}

    def path(self, stroke: Stroke) -> str:
        """As the ``d`` of an SVG path."""
        return "".join(piece.verb + " ".join(f"{x:g} {y:g}" for x, y in map(self.point, piece.points)) for piece in stroke)

    def head(self, tip: Point, before: Point) -> tuple[float, float, float]:
        """Where an arrow ends, and its direction in degrees."""
        return *self.point(tip), round(math.degrees(math.atan2(tip[1] - before[1], tip[0] - before[0])))


def _px(inches: float) -> float:
    return round(PIXELS * inches, 1)


def _last(stroke: Stroke) -> Point:
    return stroke[-1].points[-1]


def _before(stroke: Stroke) -> Point:
    """The point or control point before the last one."""
    last = stroke[-1].points
    return last[-2] if len(last) > 1 else stroke[-2].points[-1]
