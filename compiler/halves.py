"""A traced step cut at the model's output: what runs before a loss outside is computed, and what runs with its gradient.

The forward half is what the output and the new buffers are made of; everything else waits for the backward half, so that no more
is kept between the two than the backward half reads.
"""

from dataclasses import dataclass

from torch import fx

from compiler.analysis import ancestors
from compiler.effects import picks
from compiler.lowered import Layout


@dataclass(frozen=True, eq=False)
class Half:
    """A graph over some of the step's inputs: ``takes`` are their places in the layout's order."""

    graph: fx.Graph
    takes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Cut:
    """``forward``: inputs -> output, new buffers, saved values. ``backward``: inputs, saved values, the output's gradient and
    the target -> gradients, error gradients."""

    forward: Half
    backward: Half


def cut(graph: fx.Graph, layout: Layout) -> Cut:
    """Cut a step whose labels, its last two inputs, are the output's gradient and the target."""
    results: list[fx.Node] = list(next(node for node in graph.nodes if node.op == "output").args[0])
    taught = len(layout.gradients) + len(layout.error_gradients)
    updates, ahead = results[3 : 3 + taught], [results[1], *results[3 + taught :]]
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    before = ancestors(ahead)
    before |= {node for node in graph.nodes if picks(node) and node.args[0] in before}
    behind = ancestors(updates) - before
    crossing = [node for node in graph.nodes if node in before and _saved(node, behind, updates)]
    return Cut(_part(graph, before, [], [*ahead, *crossing]), _part(graph, behind, [*crossing, *placeholders[-2:]], updates))


def _saved(node: fx.Node, behind: set[fx.Node], updates: list[fx.Node]) -> bool:
    """Whether the backward half reads a value that the forward half computes."""
    if node.op in ("placeholder", "get_attr") or isinstance(node.meta.get("val"), tuple | list):
        return False
    return node in updates or any(user in behind for user in node.users)


def _part(graph: fx.Graph, nodes: set[fx.Node], given: list[fx.Node], results: list[fx.Node]) -> Half:
    """A copy of some nodes over those of the step's inputs that they read, then over values that are given."""
    part, values = fx.Graph(), dict[fx.Node, fx.Node]()
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    read = {source for node in nodes for source in node.all_input_nodes} | {*results}
    own = [node for node in placeholders if node in read and node not in given]
    for node in [*own, *given]:
        values[node] = part.placeholder(node.name)
        values[node].meta = dict(node.meta)
    for node in graph.nodes:
        if node not in values and node.op in ("call_function", "get_attr") and (node in nodes or node in read):
            values[node] = part.node_copy(node, values.__getitem__)
    part.output([values[node] for node in results])
    return Half(part, tuple(placeholders.index(node) for node in own))
