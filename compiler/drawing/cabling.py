"""Diagram -> cabling: which way each error wire takes, before there are inches.

A wire runs *straight* up where a row hears the next (the output's only where all its hearers are there). All other wires of
one sender and style share a *trunk*, a vertical line in a lane at the right, with a tap to each hearer. Boxes with another
one at their right are reached by *channels*, horizontal lines in the gap below them (to hear) or above them (to send).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from compiler.drawing.diagram import Diagram, Style, Wire
from compiler.drawing.grid import Grid, stacked
from wiring import OUTPUT

Port = tuple[str, Style]  # a box and what leaves or arrives there
Way = Literal["hears", "sends"]


@dataclass(frozen=True)
class Cabling:
    """``trunks``: lane of each sending port. ``sends`` and ``hears``: ports of a box, inner lanes first.

    ``channels``: for the gap below each row, the ports that have a line there, and whether they hear or send; topmost first.
    """

    straight: tuple[Wire, ...]
    tapped: tuple[Wire, ...]
    trunks: dict[Port, int]
    sends: dict[str, list[Style]]
    hears: dict[str, list[Style]]
    channels: dict[int, list[tuple[Way, Port]]]


def cable(shown: Diagram, found: Grid) -> Cabling:
    """Decide every wire's way."""
    far = {wire.style for wire in shown.wires if wire.source == OUTPUT and not _adjacent(wire, found)}
    straight: list[Wire] = []
    tapped: list[Wire] = []
    for wire in shown.wires:
        spread = wire.source == OUTPUT and wire.style in far
        (straight if _adjacent(wire, found) and not spread else tapped).append(wire)
    trunks = _trunks(tapped, found)
    order = sorted(tapped, key=lambda wire: trunks[wire.source, wire.style])
    sends: dict[str, list[Style]] = {}
    hears: dict[str, list[Style]] = {}
    for wire in order:
        for ports, name in ((sends, wire.source), (hears, wire.target)):
            if wire.style not in ports.setdefault(name, []):
                ports[name].append(wire.style)
    return Cabling(tuple(straight), tuple(tapped), trunks, sends, hears, _channels(sends, hears, found))


def _adjacent(wire: Wire, found: Grid) -> bool:
    return found.row[wire.source] == found.row[wire.target] + 1


def _trunks(tapped: Sequence[Wire], found: Grid) -> dict[Port, int]:
    """Lanes by interval colouring; a box's side hears in its lower half and sends in its upper half."""
    ends: dict[Port, list[float]] = {}
    for wire in tapped:
        arrival = found.row[wire.target] + (0.25 if found.outermost(wire.target) else 0.4)
        departure = found.row[wire.source] - (0.25 if found.outermost(wire.source) else 0.4)
        ends.setdefault((wire.source, wire.style), []).extend((arrival, departure))
    keys = {repr(port): port for port in ends}
    lanes = stacked({key: (min(ends[port]), max(ends[port])) for key, port in keys.items()})
    return {keys[key]: lane for key, lane in lanes.items()}


def _channels(sends: dict[str, list[Style]], hears: dict[str, list[Style]], found: Grid) -> dict[int, list[tuple[Way, Port]]]:
    """Hearers above senders; in such an order that no stub crosses another's line."""
    channels: dict[int, list[tuple[Way, Port]]] = {}
    for name in sorted(hears, key=lambda name: -found.x[name]):
        if not found.outermost(name):
            channels.setdefault(found.row[name], []).extend(("hears", (name, style)) for style in reversed(hears[name]))
    for name in sorted(sends, key=lambda name: found.x[name]):
        if not found.outermost(name):
            channels.setdefault(found.row[name] - 1, []).extend(("sends", (name, style)) for style in sends[name])
    return channels
