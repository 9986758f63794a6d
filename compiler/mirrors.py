"""Mirror synapses: linear operators whose input gradient runs through other weights than their forward pass.

While a region's backward pass is traced, ``transport`` says which way it takes and which weights it reads: the forward weights
themselves, or for each weight a tensor of the same shape. The forward pass is traced once, whatever mirrors read it later.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from compiler.capture import Capture
from compiler.dataflow import Dataflow, op_name
from compiler.partition import parameters_behind
from wiring import Mirror

LINEAR = {
    *("linear", "addmm", "mm", "matmul", "bmm", "baddbmm", "einsum", "convolution", "conv1d", "conv2d", "conv3d"),
    *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "bilinear"),
}
FORWARD = Mirror(weights="forward")
Weights = Callable[[fx.Node], Any]


def mirrored_weights(node: fx.Node, captured: Capture, flow: Dataflow) -> list[str]:
    """The parameters that a mirror stands for at a node: those behind the matrix or kernel of a linear operator on a carrier."""
    return linear_weights(node, captured, flow) if flow.inputs(node) else []


def linear_weights(node: fx.Node, captured: Capture, flow: Dataflow) -> list[str]:
    """The parameters behind the matrix or kernel of a linear operator on data."""
    if op_name(node) not in LINEAR or node not in flow.data:
        return []
    weights = [s for s in node.all_input_nodes if s not in flow.data and len(s.meta["val"].shape) > 1]
    return sorted({name for weight in weights for name in parameters_behind(weight, captured, flow)})


@dataclass(frozen=True)
class Way:
    """How a backward pass goes through a region: over which weights, and whether normalisations are passed by (Hebbian)."""

    mirror: Mirror = FORWARD
    hebbian: bool = False


class Transport:
    """The way of the backward pass that is being traced, and the weights that it reads; ``None`` stands for the forward ones.

    ``scale``: from what the pass carries to errors of one sample.
    """

    def __init__(self) -> None:
        self.way, self.scale = Way(), 1.0
        self._weights: Weights | None = None

    @contextmanager
    def through(self, way: Way, weights: Weights | None, scale: float) -> Iterator[None]:
        before = self.way, self._weights, self.scale
        self.way, self._weights, self.scale = way, weights, scale
        try:
            yield
        finally:
            self.way, self._weights, self.scale = before

    def weight(self, node: fx.Node, own: Tensor) -> Tensor:
        """The value that stands for ``node`` in an input gradient."""
        return own if self._weights is None else self._weights(node)

    @property
    def forward(self) -> bool:
        return self._weights is None


@dataclass(frozen=True)
class LinearCall:
    """One linear node with its tensors taken out: ``sources`` are the nodes they came from, ``carried`` those with data."""

    node: fx.Node
    sources: tuple[fx.Node, ...]
    carried: frozenset[fx.Node]
    transport: Transport
    context: Callable[[], Any]

    def run(self, tensors: Sequence[Tensor]) -> Tensor:
        values = dict(zip(self.sources, tensors, strict=True))
        args, kwargs = fx.map_arg((self.node.args, self.node.kwargs), values.__getitem__)
        with self.context():
            result: Tensor = self.node.target(*args, **kwargs)  # type: ignore[operator]
        return result


class Mirrored(torch.autograd.Function):
    """Forward ``op(x, W)``; backward the gradient of ``op(x, B)`` for ``x`` and of ``op(x, W)`` for ``W``.

    Tracing drops the repeated forward passes as dead code, since a linear operator's gradients do not read its result.
    """

    @staticmethod
    def forward(ctx: Any, call: LinearCall, *tensors: Tensor) -> Tensor:
        ctx.call = call
        ctx.save_for_backward(*tensors)
        return call.run(tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        call: LinearCall = ctx.call
        tensors = dict(zip(call.sources, ctx.saved_tensors, strict=True))
        needed = [s for s, wanted in zip(call.sources, ctx.needs_input_grad[1:], strict=True) if wanted]
        found: dict[fx.Node, Tensor] = {}
        if call.transport.forward:
            found = _vjp(call, tensors, needed, gradients[0])
        else:
            swapped = {s: t if s in call.carried else call.transport.weight(s, t) for s, t in tensors.items()}
            found |= _vjp(call, swapped, [s for s in needed if s in call.carried], gradients[0])
            found |= _vjp(call, tensors, [s for s in needed if s not in call.carried], gradients[0])
        return (None, *(found.get(source) for source in call.sources))


def _vjp(call: LinearCall, tensors: Mapping[fx.Node, Tensor], wanted: list[fx.Node], gradient: Tensor) -> dict[fx.Node, Tensor]:
    if not wanted:
        return {}
    with torch.enable_grad():
        leaves = {s: t.detach().requires_grad_(s in wanted) for s, t in tensors.items()}
        result = call.run([leaves[s] for s in call.sources])
        return dict(zip(wanted, torch.autograd.grad(result, [leaves[s] for s in wanted], gradient), strict=True))
