"""Operators that a step can do without: aliases, transpositions there and back, sums that keep an axis to lose it again.

Each costs a launch and computes nothing. A rule gives the node that stands for another, or ``None`` where it does not apply.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from compiler.collectives import arrives
from compiler.effects import INPUTS

aten = torch.ops.aten
Rule = Callable[[fx.Node], fx.Node | None]


def simplify(graph: fx.Graph) -> None:
    """Apply every rule once, in order, and drop what the wiring does not use."""
    graph.eliminate_dead_code(needed)
    for node in list(graph.nodes):
        rule = RULES.get(node.target)
        stands = rule(node) if rule is not None else None
        if stands is not None:
            node.replace_all_uses_with(stands)
    graph.eliminate_dead_code(needed)
    _results_apart(graph)


def needed(node: fx.Node) -> bool:
    """Whether a node does something even where nobody reads it. Waiting for a collective does not: nobody launches it then."""
    return node.is_impure() and not arrives(node)


def _results_apart(graph: fx.Graph) -> None:
    """Copy a result that lies in the memory of an input or of an earlier result: who adds to one must not change the other.

    What arrives from other processes in one bucket lies side by side.
    """
    output = next(iter(reversed(graph.nodes)))
    buckets = {_memory(node) for node in graph.nodes if arrives(node)}
    taken = {_place(node, buckets) for node in graph.nodes if node.op in INPUTS}
    results: list[Any] = []
    for result in output.args[0]:
        if _place(result, buckets) in taken:
            with graph.inserting_before(output):
                own = graph.call_function(aten.clone.default, (result,))
            own.meta = {**result.meta, "val": result.meta["val"].clone()}
            result = own
        taken.add(_place(result, buckets))
        results.append(result)
    output.args = (results,)


def _place(node: Any, buckets: set[int | None]) -> tuple[int | None, int]:
    """The memory of a value, in a bucket its place there."""
    memory = _memory(node)
    return memory, node.meta["val"].storage_offset() if memory in buckets else 0


def _memory(node: Any) -> int | None:
    value = node.meta.get("val")
    return value.untyped_storage()._cdata if isinstance(value, torch.Tensor) else None


def _itself(node: fx.Node) -> fx.Node:
    """An alias is what it looks at."""
    return node.args[0]  # type: ignore[return-value]


def _there_and_back(node: fx.Node) -> fx.Node | None:
    source: Any = node.args[0]
    return source.args[0] if source.target is node.target else None


def _unmoved(node: fx.Node) -> fx.Node | None:
    source: Any = node.args[0]
    order: Any = node.args[1]
    unmoved = all(axis % len(order) == place for place, axis in enumerate(order))
    return source if unmoved else None


def _reshaped(node: fx.Node) -> fx.Node | None:
    """A view as the traced strides allow may not be one for the real ones: reshape asks nobody. A sum may drop its axes itself."""
    source: Any = node.args[0]
    shape = tuple(node.meta["val"].shape)
    if tuple(source.meta["val"].shape) == shape:
        return source  # type: ignore[no-any-return]
    if source.target is aten.sum.dim_IntList and source.args[2:] == (True,) and source.args[1] and len(source.users) == 1:
        axes = {axis % source.meta["val"].dim() for axis in source.args[1]}
        if tuple(size for axis, size in enumerate(source.meta["val"].shape) if axis not in axes) == shape:
            source.args, source.meta["val"] = source.args[:2], node.meta["val"]
            return source  # type: ignore[no-any-return]
    node.target = aten.reshape.default
    return None


RULES: dict[Any, Rule] = {
    aten.detach.default: _itself,
    aten.alias.default: _itself,
    aten.lift_fresh_copy.default: _itself,
    aten.t.default: _there_and_back,
    aten.permute.default: _unmoved,
    aten.view.default: _reshaped,
    aten._unsafe_view.default: _reshaped,
}
