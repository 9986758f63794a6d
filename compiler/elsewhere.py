"""The forward pass at another point: what a site's value would be if that of a site before it were another."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, fx

from compiler.dataflow import ancestors, op_name
from compiler.errors import EdgeError
from compiler.formats import like
from compiler.forward import STRIDED, Forward


def forward_map(forward: Forward, receiver: str, sender: str, point: Tensor) -> Tensor:
    """The value of site ``sender`` if ``receiver``'s were ``point``, everything that does not depend on it as it is in this step.

    Dropout keeps the mask of the forward pass, normalisations by batch statistics take those of ``point``, and running statistics are
    left alone. No gradient goes through it.

    Raises:
        EdgeError: no value flows from the one to the other.
    """
    start, goal = forward.errors.value(receiver), forward.errors.value(sender)
    reach = _between(forward.captured.graph.nodes, start, goal)
    if goal not in reach:
        raise EdgeError(
            f"No value flows from {receiver!r} to {sender!r}, so there is no forward map. Use it on edges whose sender comes behind."
        )
    values: dict[fx.Node, Any] = {start: point.to(forward.value(start).dtype)}

    def read(node: fx.Node, source: fx.Node) -> Any:
        value = values[source] if source in values else forward.value(source)
        return like(value, source.meta["val"]) if op_name(node) in STRIDED and isinstance(value, Tensor) else value

    with torch.no_grad(), forward.context():
        for node in reach:
            if node.target is torch.ops.aten.native_dropout.default:
                values[node] = forward.same_mask(node, read(node, node.all_input_nodes[0]))
            else:
                values[node] = forward.operate(node, lambda source, node=node: read(node, source))  # type: ignore[misc]
    found: Tensor = values[goal]
    return found


def _between(nodes: Iterable[fx.Node], start: fx.Node, goal: fx.Node) -> dict[fx.Node, None]:
    """What depends on ``start`` and leads to ``goal``, in order."""
    behind, depends = ancestors([goal]), {start}
    for node in nodes:
        if node in behind and not depends.isdisjoint(node.all_input_nodes):
            depends.add(node)
    return dict.fromkeys(node for node in nodes if node in depends and node is not start)
