"""Matrix products of transmissions in the form that is fastest on processors: batched, over blocks of rows or over samples.

Forward passes and mirrors keep the operators that autograd has, and so its bits.

An output of some ten classes sent to thousands of units is a product with few inner terms. MKL computes it up to four times slower
for many rows at once than for blocks of 16, bit for bit the same. A pointwise convolution of few channels over many positions is a
product a sample, without the copies into another order that a convolution makes. Where nothing is done with either but to subtract it
from a pre-activation (the target of LRA), it is subtracted as it is computed.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from compiler.effects import task
from compiler.simplify import needed

aten = torch.ops.aten
BLOCK, FEW, WIDE = 16, 12, 1024
"""Rows of a block; the most inner terms, and the fewest columns, for which blocks are faster."""
CHANNELS, POSITIONS = 64, 256
"""The most channels, and the fewest positions, for which a product a sample is faster than a convolution."""
Call = Callable[..., fx.Node]


def batch_products(graph: fx.Graph) -> None:
    """Compute the thin products and the pointwise convolutions of a traced step's transmissions as batched products."""
    if not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return
    for node in graph.nodes:
        if node.target in FACTORS and task(node).startswith("transmit:") and _single(node.meta["val"]):
            target = _target(node)
            with graph.inserting_before(target or node):
                value = _batched(graph, node, target)
            if value is not None:
                (target or node).replace_all_uses_with(value)
    graph.eliminate_dead_code(needed)


def _single(value: Tensor) -> bool:
    return value.device.type == "cpu" and value.dtype == torch.float32


def _batched(graph: fx.Graph, node: fx.Node, target: fx.Node | None) -> fx.Node | None:
    """The node's value, or what a target subtracts it from without it; ``None`` where it stays as it is."""

    def call(operator: Callable[..., Any], *arguments: Any, like: fx.Node = node, **options: Any) -> fx.Node:
        made = graph.call_function(operator, arguments, options)
        values = (argument.meta["val"] if isinstance(argument, fx.Node) else argument for argument in arguments)
        made.meta = {**like.meta, "val": operator(*values, **options)}
        return made

    factors = FACTORS[node.target](node, call)
    if factors is None:
        return None
    if target is None:
        return call(aten.reshape.default, call(aten.bmm.default, *factors), list(node.meta["val"].shape))
    one, other = (factor.meta["val"].shape for factor in factors)
    h = call(aten.reshape.default, target.args[0], [*one[:2], other[2]], like=target)
    less = call(aten.baddbmm.default, h, *factors, beta=1, alpha=-target.kwargs.get("alpha", 1), like=target)  # type: ignore[operator]
    return call(aten.reshape.default, less, list(target.meta["val"].shape), like=target)


def _target(product: fx.Node) -> fx.Node | None:
    """The subtraction of a credit that reads the product, reshaped or not, and is its only reader."""
    node = product
    while len(node.users) == 1:
        (user,) = node.users
        if user.target is aten.sub.Tensor and task(user).startswith("credit:") and user.args[1] is node:
            h: Tensor = user.args[0].meta["val"]  # type: ignore[union-attr]
            return user if h.shape == node.meta["val"].shape == user.meta["val"].shape and h.is_contiguous() else None
        if user.target is not aten.reshape.default:
            return None
        node = user
    return None


def _blocks_of_rows(node: fx.Node, call: Call) -> tuple[fx.Node, fx.Node] | None:
    rows, matrix = node.args
    (number, inner), columns = rows.meta["val"].shape, matrix.meta["val"].shape[1]  # type: ignore[union-attr]
    if not (number > 2 * BLOCK and number % BLOCK == 0 and 1 < inner <= FEW and columns >= WIDE):
        return None
    blocks = number // BLOCK
    return call(aten.reshape.default, rows, [blocks, BLOCK, inner]), call(aten.expand.default, matrix, [blocks, inner, columns])


def _samples(node: fx.Node, call: Call) -> tuple[fx.Node, fx.Node] | None:
    maps, weight, bias, *settings = node.args
    value, kernel = maps.meta["val"], weight.meta["val"]  # type: ignore[union-attr]
    axes = value.dim() - 2
    plain = settings == [[1] * axes, [0] * axes, [1] * axes, False, [0] * axes, 1] and bias is None
    few = max(kernel.shape[:2]) <= CHANNELS and math.prod(value.shape[2:]) >= POSITIONS
    if not (plain and few and math.prod(kernel.shape[2:]) == 1 and value.is_contiguous()):
        return None
    matrix = call(aten.reshape.default, weight, list(kernel.shape[:2]))
    repeated = call(aten.expand.default, matrix, [len(value), *kernel.shape[:2]])
    return repeated, call(aten.reshape.default, maps, [*value.shape[:2], -1])


FACTORS: dict[Any, Callable[[fx.Node, Call], tuple[fx.Node, fx.Node] | None]] = {
    aten.mm.default: _blocks_of_rows,
    aten.convolution.default: _samples,
}
