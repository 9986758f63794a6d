"""Thin matrix products in blocks of rows, on processors: a step's own errors, sent to every unit of a wide layer.

An output of some ten classes sent to thousands of units is a product with few inner terms. MKL computes it up to four times slower
for many rows at once than for 16, bit for bit the same. One batched product over blocks of 16 rows takes its place. Where
nothing is done with it but to subtract it from a pre-activation (the target of LRA), it is subtracted as it is computed.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from compiler.effects import task
from compiler.simplify import needed

aten = torch.ops.aten
BLOCK, FEW, WIDE = 16, 12, 1024
"""Rows of a block; the most inner terms, and the fewest columns, for which blocks are faster."""


def in_blocks(graph: fx.Graph) -> None:
    """Compute every thin product of a traced step in blocks of rows."""
    if not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return
    for node in graph.find_nodes(op="call_function", target=aten.mm.default):
        if _thin(*(operand.meta["val"] for operand in node.args)):
            target = _target(node)
            with graph.inserting_before(target or node):
                (target or node).replace_all_uses_with(_blocked(graph, node, target))
    graph.eliminate_dead_code(needed)


def _thin(rows: Tensor, matrix: Tensor) -> bool:
    number, inner = rows.shape
    several = number > 2 * BLOCK and number % BLOCK == 0
    return several and 1 < inner <= FEW and matrix.shape[1] >= WIDE and rows.device.type == "cpu" and rows.dtype == torch.float32


def _target(product: fx.Node) -> fx.Node | None:
    """The subtraction of a credit that reads the product, reshaped or not, and is its only reader."""
    node = product
    while len(node.users) == 1:
        (user,) = node.users
        if user.target is aten.sub.Tensor and task(user).startswith("credit:") and user.args[1] is node:
            value: Tensor = user.args[0].meta["val"]  # type: ignore[union-attr]
            return user if value.shape == user.meta["val"].shape and value.is_contiguous() else None
        if user.target is not aten.reshape.default:
            return None
        node = user
    return None


def _blocked(graph: fx.Graph, product: fx.Node, target: fx.Node | None) -> fx.Node:
    """The product, or what a target subtracts it from without it."""

    def call(operator: Callable[..., Any], *arguments: Any, like: fx.Node = product, **options: Any) -> fx.Node:
        node = graph.call_function(operator, arguments, options)
        values = (argument.meta["val"] if isinstance(argument, fx.Node) else argument for argument in arguments)
        node.meta = {**like.meta, "val": operator(*values, **options)}
        return node

    rows, matrix = product.args
    number, inner = rows.meta["val"].shape  # type: ignore[union-attr]
    blocks, columns = number // BLOCK, matrix.meta["val"].shape[1]  # type: ignore[union-attr]
    batched = call(aten.reshape.default, rows, [blocks, BLOCK, inner])
    repeated = call(aten.expand.default, matrix, [blocks, inner, columns])
    if target is None:
        return call(aten.reshape.default, call(aten.bmm.default, batched, repeated), [number, columns])
    h = call(aten.reshape.default, target.args[0], [blocks, BLOCK, columns], like=target)
    less = call(aten.baddbmm.default, h, batched, repeated, beta=1, alpha=-target.kwargs.get("alpha", 1), like=target)  # type: ignore[operator]
    return call(aten.reshape.default, less, list(target.meta["val"].shape), like=target)
