"""Diagram -> DOT, the language of Graphviz: groups as clusters, forward links solid and grey, error wires dashed and coloured."""

from collections.abc import Iterable, Sequence

from compiler.drawing.diagram import Box, Diagram, Group
from compiler.drawing.look import FILLS, FORWARD, FROZEN, GREY, INK, colour, shade

SHAPES = {"input": "oval", "site": "box", "junction": "oval", "output": "box"}


def dot(shown: Diagram) -> bytes:
    """The picture as DOT text."""
    lines = [
        "digraph errorwire {",
        f"  graph [label={quoted(shown.title, shown.subtitle)}, labelloc=t, fontname=Helvetica, fontsize=12];",
        f"  node [fontname=Helvetica, fontsize=10, style={quoted('filled,rounded')}, color={quoted(GREY)}, fontcolor={quoted(INK)}];",
        f"  edge [color={quoted(FORWARD)}];",
        *_inside(shown, None),
    ]
    lines += [f"  {quoted(source)} -> {quoted(target)};" for source, target in shown.links]
    for wire in shown.wires:
        paint = f"color={quoted(colour(wire.style))}, style=dashed, constraint=false, tooltip={quoted(wire.tip)}"
        lines.append(f"  {quoted(wire.source)} -> {quoted(wire.target)} [{paint}];")
    return "\n".join([*lines, "}", ""]).encode()


def quoted(*lines: str) -> str:
    """A DOT string of these lines."""
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") for line in lines if line)
    return '"' + "\\n".join(escaped) + '"'


def _inside(shown: Diagram, outer: Group | None, indent: str = "  ") -> Iterable[str]:
    """What stands directly in a group (``None``: the picture), then the groups in it as clusters."""
    for name, box in shown.boxes.items():
        if _home(name, shown.groups) is outer:
            yield f"{indent}{quoted(name)} [{_node(box)}];"
    for number, group in enumerate(shown.groups):
        if _parent(group, shown.groups) is outer:
            yield f"{indent}subgraph cluster_{number} {{"
            yield f"{indent}  label={quoted(group.name)}; style={quoted('filled,rounded')};"
            yield f"{indent}  fillcolor={quoted(shade(group.level))}; color={quoted(FORWARD)};"
            yield from _inside(shown, group, indent + "  ")
            yield f"{indent}}}"


def _node(box: Box) -> str:
    label = quoted(" ".join(filter(None, (box.heading, box.shape))), box.text)
    return f"label={label}, shape={SHAPES[box.kind]}, fillcolor={quoted(FROZEN if box.frozen else FILLS[box.kind])}"


def _home(name: str, groups: Sequence[Group]) -> Group | None:
    """The smallest group that a box is in."""
    return min((group for group in groups if name in group.members), key=_size, default=None)


def _parent(group: Group, groups: Sequence[Group]) -> Group | None:
    """The smallest group of an outer level that holds all of this one's members."""
    holding = (other for other in groups if other.level > group.level and set(group.members) < set(other.members))
    return min(holding, key=_size, default=None)


def _size(group: Group) -> tuple[int, int]:
    return len(group.members), group.level
