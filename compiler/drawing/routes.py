"""Layout -> strokes: the curves of forward links and error wires."""

from compiler.drawing.diagram import Diagram, Style, Wire
from compiler.drawing.grid import LANE
from compiler.drawing.layout import CHANNEL, Layout
from compiler.drawing.strokes import RADIUS, Place, Point, Stroke, rounded, sway

ASIDE = 0.32  # of straight wires from the forward line, inches
STEP = 0.08  # between ports of one box


def link(source: str, target: str, laid: Layout) -> Stroke:
    """A forward link, from the bottom or left side of the one box to the top or left side of the other."""
    start, end = laid.places[source], laid.places[target]
    rows = range(laid.grid.row[source] + 1, laid.grid.row[target])
    if not rows:
        return sway([(start.x, start.bottom), (end.x, end.top)])
    way = laid.grid.threads[source]
    if source in laid.grid.lanes:
        return _around(source, target, way[rows[0]], laid)
    points: list[Point] = [(start.x, start.bottom)]
    for row in rows:
        points += [(way[row], laid.gaps[row - 1][1]), (way[row], laid.gaps[row][0])]
    return sway([*points, (end.x, end.top)])


def _around(source: str, target: str, x: float, laid: Layout) -> Stroke:
    """A link over the lane at ``x``, left of everything; sides that another box covers are left for the bottom or top."""
    start, end, row = laid.places[source], laid.places[target], laid.grid.row
    middle = (x, (start.bottom + end.top) / 2)
    if laid.grid.outermost(source, -1):
        head = rounded([(start.left, _side(start, 1)), (x, _side(start, 1)), middle])
    else:
        head = sway([(start.x, start.bottom), (x, laid.gaps[row[source]][1]), middle])
    if laid.grid.outermost(target, -1):
        return head + rounded([middle, (x, _side(end, -1)), (end.left, _side(end, -1))])[1:]
    return head + sway([middle, (x, laid.gaps[row[target] - 1][0]), (end.x, end.top)])[1:]


def _side(place: Place, half: int) -> float:
    return place.y + half * min(0.06, place.height / 4)


def straight(wire: Wire, laid: Layout, shown: Diagram) -> Stroke:
    """A wire from one row up to the next."""
    start, end = laid.places[wire.source], laid.places[wire.target]
    aside = ASIDE + STEP * list(shown.styles).index(wire.style)
    return sway([(start.x + aside, start.top), (end.x + aside, end.bottom)])


def tapped(wire: Wire, laid: Layout) -> tuple[Stroke, Stroke]:
    """A wire by its trunk: from the sender to the tap, and, drawn backwards, from the hearer to the tap.

    Dashes start anew in each part, so that those of wires that share a trunk or a line to a hearer lie on each other.
    """
    lane = laid.side + laid.cabling.trunks[wire.source, wire.style] * LANE
    leaving = leave(wire.source, wire.style, laid)
    arriving = arrive(wire.target, wire.style, laid)
    y = arriving[-1][1]
    up = rounded([*leaving, (lane, leaving[-1][1]), (lane, y), (lane - 2 * STEP, y)])
    corner = up[-2].points[-1]
    return up[:-1], rounded([*arriving, (max(corner[0], arriving[-1][0]), y)])


def elbow(wire: Wire, laid: Layout) -> Stroke:
    """Where a tap leaves its trunk; a trunk runs downwards where a site hears one in front of it."""
    way, rail = tapped(wire, laid)
    x, y = rail[-1].points[-1]
    below = RADIUS if way[0].points[0][1] > y else -RADIUS
    return rounded([(x + RADIUS, y + 1.2 * below), (x + RADIUS, y), (x - 0.2 * RADIUS, y)])


def leave(name: str, style: Style, laid: Layout) -> list[Point]:
    """From where a box sends to the height of its line to the trunk."""
    place, ports = laid.places[name], laid.cabling.sends[name]
    number = ports.index(style)
    if laid.grid.outermost(name):
        return [(place.right, place.y - _spaced(place, number, len(ports)))]
    x = place.x + ASIDE + 0.25 + STEP * number
    return [(x, place.top), (x, _channel(laid.grid.row[name] - 1, "sends", name, style, laid))]


def arrive(name: str, style: Style, laid: Layout) -> list[Point]:
    """From where a box hears to the height of its line to the trunk."""
    place, ports = laid.places[name], laid.cabling.hears[name]
    number = ports.index(style)
    if laid.grid.outermost(name):
        return [(place.right, place.y + _spaced(place, number, len(ports)))]
    x = place.x + ASIDE + 0.25 + STEP * number
    return [(x, place.bottom), (x, _channel(laid.grid.row[name], "hears", name, style, laid))]


def _spaced(place: Place, number: int, count: int) -> float:
    """How far from a side's middle a port is: the inner lanes' ports furthest, so that lines do not cross."""
    return place.height * (0.5 - 0.4 * (number + 1) / (count + 1) - 0.05)


def _channel(row: int, way: str, name: str, style: Style, laid: Layout) -> float:
    upper, lower = laid.gaps[row]
    lines = laid.cabling.channels[row]
    first = upper + 0.08 if way == "hears" else lower - 0.08 - CHANNEL * sum(kind == "sends" for kind, _ in lines)
    same = [port for kind, port in lines if kind == way]
    return first + CHANNEL * (same.index((name, style)) + (way == "sends"))
