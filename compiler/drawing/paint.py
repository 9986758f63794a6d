"""Diagram -> SVG or PNG, through matplotlib's objects: no pyplot, no global state, no display."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from xml.sax.saxutils import escape

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG

from compiler.drawing.diagram import Box, Diagram, Wire
from compiler.drawing.layout import HEADING, LABEL, MARGIN, TEXT, Frame, Layout, lay_out
from compiler.drawing.legend import ROW, Entry, legend
from compiler.drawing.look import FILLS, FORWARD, FROZEN, GREY, INK, WHITE, colour, dashed, shade
from compiler.drawing.pen import Pen, ruler
from compiler.drawing.routes import elbow, link, straight, tapped
from compiler.drawing.strokes import Place, Stroke

DPI = 150
LARGEST = 60_000  # pixels a side, below what Agg can hold
BORDER = 0.2  # inches
TITLE, SUBTITLE = 12.0, 8.0  # points
# Over matplotlib's defaults, whatever the user's are. Any: the names that it knows differ between its versions.
SETTINGS: Any = {
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
    "svg.fonttype": "none",
    "svg.hashsalt": "errorwire",
    "path.simplify": False,
}
HOVER = "<style>g[id^='error:']:hover path {stroke-width: 3.5 !important}</style>"
QUOTES = {"'": "&apos;", '"': "&quot;"}


def svg(shown: Diagram) -> bytes:
    """The picture as SVG: texts are texts, and every box, link and wire says by its title what it is."""
    with _own_settings():
        pen, file = paint(shown), io.StringIO()
        FigureCanvasSVG(pen.figure).print_figure(file, format="svg", dpi=72, metadata={"Date": None, "Title": shown.title})
    tips = {escape(name, QUOTES): escape(tip) for name, tip in pen.tips.items()}

    def titled(opening: re.Match[str]) -> str:
        tip = tips.get(opening[1])
        return opening[0] if tip is None else f"{opening[0]}<title>{tip}</title>"

    titles = re.sub(r'<g id="([^"]*)">', titled, file.getvalue())
    return titles.replace("<defs>", f"{HOVER}\n <defs>", 1).encode()


def png(shown: Diagram) -> bytes:
    """The picture as PNG, 150 dots an inch where that many fit."""
    with _own_settings():
        pen, file = paint(shown), io.BytesIO()
        dpi = min(DPI, LARGEST / max(pen.figure.get_size_inches()))
        FigureCanvasAgg(pen.figure).print_figure(file, format="png", dpi=dpi, metadata={"Title": shown.title})
    return file.getvalue()


@contextmanager
def _own_settings() -> Iterator[None]:
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def paint(shown: Diagram) -> Pen:
    """Everything from the back to the front: frames, forward links, error wires, boxes; what it means stands on top."""
    laid = lay_out(shown, ruler)
    lines = legend(shown)
    above = 0.68 + ROW * (len(shown.caption) + len(lines))
    right = max(laid.right, laid.left + _heading_width(shown, lines))
    pen = Pen.on_paper(laid.left - BORDER, right + BORDER, -above - BORDER, laid.bottom + BORDER)
    pen.text((laid.left, -above + 0.08), shown.title, TITLE, INK, bold=True)
    pen.text((laid.left, -above + 0.28), shown.subtitle, SUBTITLE, GREY)
    for number, line in enumerate(shown.caption):
        pen.text((laid.left, -above + 0.47 + ROW * number), line, TEXT, INK)
    for number, entry in enumerate(lines, len(shown.caption)):
        entry.draw(pen, (laid.left, -above + 0.5 + ROW * number))
    for frame in sorted(laid.frames, key=lambda frame: -frame.depth):
        _frame(frame, pen)
    for source, target in shown.links:
        _link(source, target, laid, pen)
    _wires(shown, laid, pen)
    for frame in laid.frames:
        pen.text(frame.label, frame.group.name, LABEL, GREY, bold=True)
    for name, box in shown.boxes.items():
        _box(box, laid.places[name], pen)
    return pen


def _heading_width(shown: Diagram, lines: Sequence[Entry]) -> float:
    texts = [ruler(shown.title, TITLE, True), ruler(shown.subtitle, SUBTITLE, False)]
    return max(*texts, *(ruler(line, TEXT, False) for line in shown.caption), *(entry.width for entry in lines))


def _frame(frame: Frame, pen: Pen) -> None:
    size = frame.right - frame.left, frame.bottom - frame.top
    pen.box((frame.left, frame.top), size, shade(frame.depth), "#c3cfdc", name=f"group:{frame.group.name}", radius=0.1)


def _link(source: str, target: str, laid: Layout, pen: Pen) -> None:
    stroke = link(source, target, laid)
    name = f"forward:{source}->{target}"
    pen.tips[name] = f"{target} reads {source}"
    pen.curve((stroke,), FORWARD, 1.3, name=name)
    pen.head(stroke[-1].points[-1], _before(stroke), FORWARD)


def _before(stroke: Stroke) -> tuple[float, float]:
    """The point or control point before the last one."""
    last = stroke[-1].points
    return last[-2] if len(last) > 1 else stroke[-2].points[-1]


def _wires(shown: Diagram, laid: Layout, pen: Pen) -> None:
    """Inner trunks first, so that lines from outer ones cross over them; a white rim shows which is on top."""
    drawn: dict[int, list[tuple[Wire, tuple[Stroke, ...]]]] = {}
    for wire in laid.cabling.tapped:
        drawn.setdefault(laid.cabling.trunks[wire.source, wire.style], []).append((wire, tapped(wire, laid)))
    for wire in laid.cabling.straight:
        drawn.setdefault(-1, []).append((wire, (straight(wire, laid, shown),)))
    for lane in sorted(drawn):
        for _, strokes in drawn[lane]:
            pen.curve(strokes, WHITE, 3.4)
        for wire, strokes in drawn[lane]:
            name = f"error:{wire.source}->{wire.target}"
            pen.tips[name] = wire.tip
            pen.curve(strokes, colour(wire.style), 1.6, dashed(wire.style), name=name)
    for wire in laid.cabling.tapped:
        pen.curve((elbow(wire, laid),), colour(wire.style), 1.6)
    for wire, strokes in (pair for lane in drawn.values() for pair in lane):
        end = strokes[-1]
        tip, towards = (end[-1].points[-1], _before(end)) if len(strokes) == 1 else (end[0].points[0], end[1].points[0])
        pen.head(tip, towards, colour(wire.style))


def _box(box: Box, place: Place, pen: Pen) -> None:
    ink, grey = (GREY, GREY) if box.frozen else (INK, GREY)
    name = f"{box.kind}:{box.name}"
    pen.tips[name] = " ".join(filter(None, (box.heading, box.shape, box.text, "(frozen)" if box.frozen else "")))
    fill = FROZEN if box.frozen else FILLS[box.kind]
    radius = place.height / 2 if box.kind in ("input", "junction") else 0.06
    pen.box((place.left, place.top), (place.width, place.height), fill, GREY, name, radius, dashed=box.frozen)
    if box.kind == "junction":
        pen.text((place.x, place.y), box.heading, TEXT, grey, place="center")
        return
    first = place.y - 0.09 if box.text else place.y
    pen.text((place.left + MARGIN, first), box.heading, HEADING, ink, bold=True)
    pen.text((place.right - MARGIN, first), box.shape, TEXT, ink, place="right")
    if box.text:
        pen.text((place.left + MARGIN, place.y + 0.105), box.text, TEXT, grey)
