"""Collectives of ``torch.distributed`` in a step: one operator launches, another waits for what arrives, so that work fits between.

A process reaches the others by launching, so launches must have one order on all ranks; waiting concerns nobody else.
"""

from typing import Any

from torch import Tensor, fx

from compiler.world import World

NAMESPACE = "_c10d_functional"


def launches(node: fx.Node) -> bool:
    """Whether an operator starts a collective."""
    return _namespace(node) == NAMESPACE and not arrives(node)


def arrives(node: fx.Node) -> bool:
    """Whether an operator waits for a collective: its result is the very tensor that it waits for."""
    return _namespace(node) == NAMESPACE and str(node.target) == f"{NAMESPACE}.wait_tensor.default"


def _namespace(node: fx.Node) -> str:
    return str(getattr(node.target, "namespace", "")) if node.op == "call_function" else ""


def launched_sum(value: Tensor, world: World) -> Tensor:
    """A sum over all processes, on its way: nothing but ``arrived`` may read it."""
    return _operators().all_reduce.default(value, "sum", world.group)  # type: ignore[no-any-return]


def launched_rows(value: Tensor, world: World) -> Tensor:
    """Every process's ``value`` of shape ``[n, ...]``, one behind the other as ``[size * n, ...]``, on its way."""
    return _operators().all_gather_into_tensor.default(value, world.size, world.group)  # type: ignore[no-any-return]


def arrived(value: Tensor) -> Tensor:
    """What was on its way."""
    return _operators().wait_tensor.default(value)  # type: ignore[no-any-return]


def _operators() -> Any:
    import torch
    import torch.distributed._functional_collectives  # registers what tracing needs to know of them

    return torch.ops._c10d_functional
