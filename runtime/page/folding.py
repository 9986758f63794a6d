"""Diagram -> diagram: each block as one box, so that deep networks can be looked over."""

from dataclasses import replace

from compiler.drawing.diagram import Box, Diagram, Group, Wire


def folded(shown: Diagram) -> Diagram | None:
    """The picture with a box for each block of several sites; ``None`` where there is none, or a block cannot be one box.

    Wires inside a block go; of several between the same two boxes and of one style one stays.
    """
    blocks = {group.name: group for group in shown.groups if group.level == 0 and len(group.members) > 1}
    inside = {site: name for name, group in blocks.items() for site in group.members}
    if not blocks or any(name in shown.boxes and name not in inside for name in blocks):
        return None
    boxes = _boxes(shown, blocks, inside)
    links = tuple(dict.fromkeys((inside.get(a, a), inside.get(b, b)) for a, b in shown.links))
    links = tuple((a, b) for a, b in links if a != b)
    order = {name: number for number, name in enumerate(boxes)}
    if any(order[a] >= order[b] for a, b in links):
        return None
    groups = (_group(group, inside) for group in shown.groups if group.name not in blocks)
    kept = tuple(group for group in groups if len(group.members) > 1)
    return replace(shown, boxes=boxes, links=links, wires=_wires(shown, inside), groups=kept)


def _boxes(shown: Diagram, blocks: dict[str, Group], inside: dict[str, str]) -> dict[str, Box]:
    """A block stands where its last site stood, behind everything that it reads."""
    closing = {group.members[-1]: name for name, group in blocks.items()}
    boxes: dict[str, Box] = {}
    for name, box in shown.boxes.items():
        if name in closing:
            block = blocks[closing[name]]
            frozen = all(shown.boxes[member].frozen for member in block.members)
            boxes[block.name] = Box(block.name, "site", block.name, box.shape, f"{len(block.members)} sites", frozen)
        elif name not in inside:
            boxes[name] = box
    return boxes


def _wires(shown: Diagram, inside: dict[str, str]) -> tuple[Wire, ...]:
    found: dict[tuple[str, str, object], Wire] = {}
    for wire in shown.wires:
        source, target = inside.get(wire.source, wire.source), inside.get(wire.target, wire.target)
        if source != target:
            found.setdefault((source, target, wire.style), replace(wire, source=source, target=target))
    return tuple(found.values())


def _group(group: Group, inside: dict[str, str]) -> Group:
    return replace(group, level=group.level - 1, members=tuple(dict.fromkeys(inside.get(name, name) for name in group.members)))
