"""Operators that a step can do without: aliases, transpositions there and back, sums that keep an axis to lose it again.

Each costs a launch and computes nothing. A rule gives the node that stands for another, or ``None`` where it does not apply.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

aten = torch.ops.aten
Rule = Callable[[fx.Node], fx.Node | None]


def simplify(graph: fx.Graph) -> None:
    """Apply every rule once, in order, and drop what the wiring does not use."""
    graph.eliminate_dead_code()
    for node in list(graph.nodes):
        rule = RULES.get(node.target)
        stands = rule(node) if rule is not None else None
        if stands is not None:
            node.replace_all_uses_with(stands)
    graph.eliminate_dead_code()


def _itself(node: fx.Node) -> fx.Node:
    """An alias is what it looks at."""
    return node.args[0]  # type: ignore[return-value]


def _there_and_back(node: fx.Node) -> fx.Node | None:
    source: Any = node.args[0]
    return source.args[0] if source.target is node.target else None


def _unmoved(node: fx.Node) -> fx.Node | None:
    source, order = node.args
    return source if list(order) == sorted(order) else None  # type: ignore[return-value, arg-type]


def _reshaped(node: fx.Node) -> fx.Node | None:
    """A view as the traced strides allow may not be one for the real ones: reshape asks nobody. A sum may drop its axes itself."""
    source: Any = node.args[0]
    shape = tuple(node.meta["val"].shape)
    if tuple(source.meta["val"].shape) == shape:
        return source  # type: ignore[no-any-return]
    if source.target is aten.sum.dim_IntList and source.args[2:] == (True,) and len(source.users) == 1:
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
