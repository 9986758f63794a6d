"""Operators that an error may pass by: a normalisation under Hebbian updates, a pooling whose errors are resampled.

The forward pass is traced once, whatever passes by it later. A *gate* in front of the operator and a *fork* behind it let the
backward pass that is being traced choose: through the operator, or around it, where the operator's own parameters still learn.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from compiler.dataflow import op_name
from compiler.mirrors import Transport

NORMS = {
    *("batch_norm", "native_batch_norm", "_native_batch_norm_legit_functional", "_native_batch_norm_legit_no_training"),
    *("layer_norm", "native_layer_norm", "group_norm", "native_group_norm", "instance_norm", "rms_norm"),
}
POOLS = {
    **{f"{kind}_pool{axes}d": axes for kind in ("max", "avg", "adaptive_max", "adaptive_avg") for axes in (1, 2, 3)},
    **{f"max_pool{axes}d_with_indices": axes for axes in (1, 2, 3)},
}
LINEAR_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def resample(value: Tensor, positions: tuple[int, ...], upsampling: str) -> Tensor:
    """``[N, C, *P]`` -> ``[N, C, *positions]`` by the ``nearest`` neighbour or ``bilinear`` (linear, trilinear by the axes)."""
    if upsampling == "nearest":
        return F.interpolate(value, size=positions)
    return F.interpolate(value, size=positions, mode=LINEAR_MODES[len(positions)], align_corners=False)


@dataclass(frozen=True)
class Detour:
    """The way around one operator, open while the backward pass that is being traced takes it."""

    node: fx.Node
    transport: Transport

    def around(self, gradient: Tensor, shape: tuple[int, ...]) -> Tensor | None:
        """What arrives at the operator's input of ``shape`` on the way around; ``None`` where the way goes through."""
        name = op_name(self.node)
        if not self.open or name in NORMS:
            return gradient if self.open else None
        axes = POOLS[name]
        maps = gradient if gradient.dim() == axes + 2 else gradient.unsqueeze(0)
        return resample(maps, shape[-axes:], self.transport.way.mirror.upsampling).reshape(shape)

    @property
    def open(self) -> bool:
        """Whether the backward pass that is being traced goes around."""
        way = self.transport.way
        return way.hebbian if op_name(self.node) in NORMS else way.mirror.upsampling != "unpool"

    def run(self, call: Callable[[Tensor], Any], source: Tensor) -> Any:
        """The operator's results on ``source``, its first one forked."""
        results = call(Gate.apply(self, source))  # type: ignore[no-untyped-call]
        if isinstance(results, Tensor):
            return Fork.apply(self, results, source)  # type: ignore[no-untyped-call]
        return (Fork.apply(self, results[0], source), *results[1:])  # type: ignore[no-untyped-call]


class Gate(torch.autograd.Function):
    """The operator's input; no gradient comes back through it while the way goes around."""

    @staticmethod
    def forward(ctx: Any, detour: Detour, source: Tensor) -> Tensor:
        ctx.detour = detour
        return source.view_as(source)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, None if ctx.detour.open else gradients[0]


class Fork(torch.autograd.Function):
    """The operator's result; on the way around its gradient arrives at the input as well."""

    @staticmethod
    def forward(ctx: Any, detour: Detour, result: Tensor, source: Tensor) -> Tensor:
        ctx.detour, ctx.shape, ctx.dtype = detour, tuple(source.shape), source.dtype
        return result.view_as(result)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        arrived = ctx.detour.around(gradients[0], ctx.shape)
        return None, gradients[0], None if arrived is None else arrived.to(ctx.dtype)
