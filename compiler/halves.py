"""A traced step cut at the model's output: what runs before a loss outside is computed, and what runs with its gradient.

The forward half is what the output and the new buffers are made of; everything else waits for the backward half, so that no more
is kept between the two than the backward half reads.
"""

from dataclasses import dataclass

import torch
from torch import fx

from compiler.dataflow import ancestors, op_name
from compiler.effects import effects, picks
from compiler.lowered import Layout, results_of
from compiler.taskgraph import RANDOM

TRAINS = {"native_batch_norm_backward": 7, "cudnn_batch_norm_backward": None}
"""Operators that take running statistics at 3 and 4, and read them only where the argument named here is false (``None``: never)."""


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
    results = layout.by_kind(results_of(graph))
    updates, ahead = list(results.updates), [results.output, *results.new_buffers]
    placeholders = graph.find_nodes(op="placeholder")
    before = _with_overwriting(graph, ancestors(ahead))
    before |= {node for node in graph.nodes if picks(node) and node.args[0] in before}
    behind = ancestors(updates) - before
    for node in behind:
        _forget_statistics(node)
    crossing = [node for node in graph.nodes if node in before and _saved(node, behind, updates)]
    if any(node is not ahead[0] and _memory(node) == _memory(ahead[0]) for node in crossing):
        ahead[0] = _own(graph, ahead[0])  # the caller may change the output in place
        before.add(ahead[0])
    return Cut(_part(graph, before, [], [*ahead, *crossing]), _part(graph, behind, [*crossing, *placeholders[-2:]], updates))


def _with_overwriting(graph: fx.Graph, nodes: set[fx.Node]) -> set[fx.Node]:
    """The nodes, whoever reads what they overwrite before they do, and whoever writes what they read: some operators of torch, as a
    GRU cell, work in place on their own intermediate values."""
    found = effects(graph).of
    place = {node: number for number, node in enumerate(found)}
    overwrites = {node: effect.writes - effect.makes - {RANDOM} for node, effect in found.items()}
    changed = frozenset[str]().union(*overwrites.values())
    touching = {name: [n for n, e in found.items() if name in e.reads | e.writes] for name in changed}
    stack, nodes = [node for node in nodes if node in found], set(nodes)
    while stack:
        node = stack.pop()
        earlier = [n for name in overwrites[node] for n in touching[name] if place[n] < place[node]]
        earlier += [
            n for name in found[node].reads & changed for n in touching[name] if name in overwrites[n] and place[n] < place[node]
        ]
        new = ancestors(n for n in earlier if n not in nodes) - nodes
        nodes |= new
        stack += [n for n in new if n in found]
    return nodes


def _forget_statistics(node: fx.Node) -> None:
    """A normalisation by batch statistics does not read the running ones, which the forward half has renewed by then."""
    train = TRAINS.get(op_name(node), -1) if node.op == "call_function" else -1
    if train is None or (train >= 0 and node.args[train]):
        node.args = (*node.args[:3], None, None, *node.args[5:])


def _saved(node: fx.Node, behind: set[fx.Node], updates: list[fx.Node]) -> bool:
    """Whether the backward half reads a value that the forward half computes."""
    if node.op in ("placeholder", "get_attr") or isinstance(node.meta.get("val"), tuple | list):
        return False
    return node in updates or any(user in behind for user in node.users)


def _memory(node: fx.Node) -> int:
    return int(node.meta["val"].untyped_storage()._cdata)


def _own(graph: fx.Graph, node: fx.Node) -> fx.Node:
    """A copy of a value, in memory of its own."""
    with graph.inserting_before(graph.output_node()):
        copy = graph.call_function(torch.ops.aten.clone.default, (node,))
    copy.meta = {**node.meta, "val": node.meta["val"].clone()}
    return copy


def _part(graph: fx.Graph, nodes: set[fx.Node], given: list[fx.Node], results: list[fx.Node]) -> Half:
    """A copy of some nodes over those of the step's inputs that they read, then over values that are given."""
    part, values = fx.Graph(), dict[fx.Node, fx.Node]()
    placeholders = graph.find_nodes(op="placeholder")
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
