"""Error graph -> diagram: what a picture of a program shows, in words and before any geometry.

Forward: the input, sites, junctions and the output as boxes, and a link where a region reads another's value. On top of
them a wire for every error edge, from its sender to the site that hears it. Groups are the residual blocks and what holds
them.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import fx

from compiler.dataflow import shape
from compiler.drawing.operators import summary
from compiler.errorgraph import ErrorEdge, ErrorGraph
from compiler.plan import Plan
from compiler.signal import Loss, loss_name
from wiring import OUTPUT, Fixed, Mirror

if TYPE_CHECKING:
    from compiler.program import UpdateProgram

ARROW = " \N{RIGHTWARDS ARROW} "
INPUT = "(input)"  # no module path has parentheses


@dataclass(frozen=True)
class Box:
    """A node of the forward graph. ``heading`` and ``shape`` make its first line, ``text`` its second."""

    name: str
    kind: Literal["input", "site", "junction", "output"]
    heading: str
    shape: str
    text: str
    frozen: bool = False


@dataclass(frozen=True)
class Style:
    """What tells wires apart: the synapse and how it learns."""

    synapse: str
    plasticity: str

    @property
    def learns(self) -> bool:
        return self.plasticity != Fixed().kind

    @property
    def label(self) -> str:
        if self.synapse == "mirror (forward)":
            return "mirror: the forward weights themselves"
        return f"{self.synapse}, learned by {self.plasticity.replace('_', ' ')}" if self.learns else f"{self.synapse}, fixed"


@dataclass(frozen=True)
class Wire:
    """An error edge: ``target`` hears ``source``."""

    source: str
    target: str
    style: Style
    tip: str


@dataclass(frozen=True)
class Group:
    """Boxes inside one module. ``level``: 0 for blocks, more for what holds them."""

    name: str
    level: int
    members: tuple[str, ...]


@dataclass(frozen=True)
class Diagram:
    """``boxes`` in topological order, the output last; ``links`` are the forward edges, ``wires`` the error edges."""

    title: str
    subtitle: str
    caption: tuple[str, ...]
    boxes: dict[str, Box]
    links: tuple[tuple[str, str], ...]
    wires: tuple[Wire, ...]
    groups: tuple[Group, ...]

    @functools.cached_property
    def styles(self) -> dict[Style, int]:
        """Every style in use and how many wires have it; those nearest to the output first."""
        return dict(Counter(wire.style for wire in reversed(self.wires)))


def diagram(program: "UpdateProgram") -> Diagram:
    """Everything that a picture of the program shows."""
    errors = program.plan.errors
    wires = tuple(_wire(edge, errors) for arriving in errors.edges.values() for edge in arriving)
    numbers = sum(parameter.numel for parameter in errors.parameters.values())
    return Diagram(
        title=f"{program.wiring.name} on {type(program.model).__name__}",
        subtitle=f"{_count(len(errors.sites), 'site')}, {_count(len(wires), 'error edge')}, {_count(numbers, 'error parameter')}",
        caption=_caption(errors),
        boxes=_boxes(program.plan),
        links=_links(program.plan),
        wires=wires,
        groups=_groups(errors),
    )


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _boxes(plan: Plan) -> dict[str, Box]:
    errors = plan.errors
    boxes = {INPUT: Box(INPUT, "input", "input", ", ".join(_size(full, plan.batch) for full in _user_inputs(plan)), "")}
    for region in errors.parts.regions.values():
        words, name = summary(region.nodes), region.name
        if region.site is not None:
            act = region.site.activation if region.site.phi else ""
            text = ARROW.join(filter(None, (words, act))) or region.site.activation
            boxes[name] = Box(name, "site", name, _size(region.site.shape, plan.batch), text, errors.frozen(name))
        elif name == OUTPUT:
            text = ARROW.join(filter(None, (words, _loss_word(plan.loss))))
            boxes[name] = Box(name, "output", name, _size(shape(region.head), plan.batch), text)
        else:
            boxes[name] = Box(name, "junction", words or "junction", "", "")
    return boxes


def _loss_word(loss: Loss) -> str:
    """The loss's name without settings and addresses."""
    inner = loss.func if isinstance(loss, functools.partial) else loss
    name = loss_name(inner)
    return name if name.isidentifier() else type(inner).__name__


def _caption(errors: ErrorGraph) -> tuple[str, ...]:
    heard = [errors.rules[edge.target].signal for arriving in errors.edges.values() for edge in arriving if edge.source == OUTPUT]
    words = {"error": "its error", "sign": "its error's sign", "target": "the target"}
    sent = " and ".join(dict.fromkeys(words[signal] for signal in heard))
    if not any(errors.edges.values()):
        return ("No site hears anybody; the output's own region learns from the loss.",)
    return "Coloured arrows point from who sends to the site that hears.", *([f"The output sends {sent}."] if sent else [])


def _user_inputs(plan: Plan) -> list[tuple[int, ...]]:
    return [
        shape(node) for node, (kind, _) in plan.captured.inputs.items() if kind == "user" and hasattr(node.meta.get("val"), "shape")
    ]


def _size(full: tuple[int, ...], batch: int) -> str:
    """One sample's shape as ``64x32x32``; ``k`` rows a sample are an axis of their own. All of it where batch is not first."""
    rows, rest = divmod(full[0], batch) if full else (1, 0)
    return "x".join(map(str, full if rest else full[1:] if rows == 1 else (rows, *full[1:]))) or "1"


def _links(plan: Plan) -> tuple[tuple[str, str], ...]:
    """Which region reads whose value, the input's first."""
    parts = plan.errors.parts
    found: dict[tuple[str, str], None] = {}
    for region in parts.regions.values():
        if _reads_input(region.nodes, plan):
            found[INPUT, region.name] = None
        for cut in region.cuts:
            source = parts.z_site[cut].name if cut in parts.z_site else parts.regions[cut].name
            found[source, region.name] = None
    return tuple(found)


def _reads_input(nodes: Iterable[fx.Node], plan: Plan) -> bool:
    """Whether the model's input reaches a region along nodes that carry no gradient."""
    stack = [source for node in nodes for source in node.all_input_nodes]
    seen: set[fx.Node] = set()
    while stack:
        node = stack.pop()
        if node in seen or node in plan.dataflow.carriers or node in plan.errors.parts.z_site:
            continue
        seen.add(node)
        if node in plan.captured.inputs and plan.captured.inputs[node][0] == "user":
            return True
        stack += node.all_input_nodes
    return False


def _wire(edge: ErrorEdge, errors: ErrorGraph) -> Wire:
    synapse = f"mirror ({edge.synapse.weights})" if isinstance(edge.synapse, Mirror) else edge.synapse.kind
    style = Style(synapse, edge.plasticity.kind)
    parameter = errors.parameters[edge.parameter] if edge.parameter else None
    sized = f", {list(parameter.shape)}" if parameter else ""
    return Wire(edge.source, edge.target, style, f"{edge.target} hears {edge.source}: {style.label}{sized}")


def _groups(errors: ErrorGraph) -> tuple[Group, ...]:
    """Blocks first; a group that holds just what one inside it holds is left out."""
    found: dict[tuple[str, ...], Group] = {}
    for level, names in enumerate(errors.structure.levels):
        for name in dict.fromkeys(names[site] for site in errors.sites if site in names):
            members = tuple(site for site in errors.sites if names.get(site) == name)
            found.setdefault(members, Group(name, level, members))
    return tuple(found.values())


def by_level(groups: Iterable[Group]) -> Mapping[int, list[Group]]:
    """Groups by level, numbered from 0 without holes."""
    found: dict[int, list[Group]] = {}
    for group in sorted(groups, key=lambda group: group.level):
        found.setdefault(group.level, []).append(group)
    return dict(enumerate(found.values()))
