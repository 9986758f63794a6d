"""Batch normalisation by the statistics of the joint batch of all processes (``nn.SyncBatchNorm``), on any device.

Legend: ``x`` ``[n, C, *P]``; ``K`` numbers a channel in the joint batch; a process's shard counts by its portion, so that a borrowed
sample counts for nothing. Source: Ioffe and Szegedy (2015), with the moments of shards put together as Chan, Golub and LeVeque (1979).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from compiler.dataflow import op_name
from compiler.joint import Joint
from compiler.mirrors import Transport

aten = torch.ops.aten


@dataclass(frozen=True)
class NormCall:
    """A batch norm with its tensors taken out. ``transport``: the backward pass that is being traced."""

    joint: Joint
    transport: Transport
    momentum: float
    eps: float


def joint_norm(node: fx.Node, args: tuple[Any, ...], joint: Joint, transport: Transport) -> tuple[Tensor, ...]:
    """What a batch norm's operator returns, with joint statistics in place of the shard's own."""
    tracks = op_name(node) != "_native_batch_norm_legit"
    x, weight, bias = args[:3]
    running = args[3:5] if tracks else (None, None)
    call = NormCall(joint, transport, *args[-2:])
    results: tuple[Tensor, ...] = JointNorm.apply(call, x, weight, bias, *running)  # type: ignore[no-untyped-call]
    return results if tracks else results[:3]


class JointNorm(torch.autograd.Function):
    """``(x - m) / sqrt(v + eps) * weight + bias``; results: that, ``m``, ``1 / sqrt(v + eps)``, and the running statistics renewed."""

    @staticmethod
    def forward(
        ctx: Any, call: NormCall, x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor | None, var: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        precise = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
        axes = [0, *range(2, x.dim())]
        own_var, own_mean = torch.var_mean(x.to(precise), axes, correction=0)
        count = (call.joint.weight(summed=True) * (x.numel() // x.shape[1])).to(precise)
        rows = call.joint.rows(torch.cat([own_mean, own_var, count.reshape(1)]))
        means, variances, counts = torch.split(rows, [x.shape[1], x.shape[1], 1], dim=1)
        numbers = counts.sum()
        m = (means * counts).sum(0) / numbers
        v = ((variances + (means - m) ** 2) * counts).sum(0) / numbers
        inverse = torch.rsqrt(v + call.eps)
        out = aten._native_batch_norm_legit_no_training.default(x, weight, bias, m, v, 0.0, call.eps)[0]
        renewed: tuple[Tensor | None, Tensor | None] = (None, None)
        if mean is not None and var is not None:
            unbiased = v * (numbers / (numbers - 1).clamp(min=1))
            renewed = (
                torch.lerp(mean, m.to(mean.dtype), call.momentum),
                torch.lerp(var, unbiased.to(var.dtype), call.momentum),
            )
        ctx.call = call
        ctx.save_for_backward(x, weight, m, v, inverse, numbers)
        ctx.mark_non_differentiable(*(value for value in (m, inverse, *renewed) if value is not None))
        return out, m, inverse, *renewed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """``dx = (dy - mean(dy) - y mean(dy y)) weight / sqrt(v + eps)`` with ``y`` the normalised ``x`` and joint means.

        Gradients of processes go together as errors of single samples, whatever factor each carries beside them.
        """
        call: NormCall = ctx.call
        x, weight, m, v, inverse, numbers = ctx.saved_tensors
        dy, ones = gradients[0], torch.ones_like(m)
        _, by_y, sums = aten.native_batch_norm_backward.default(
            dy, x, ones if weight is None else weight, m, v, None, None, False, call.eps, [False, True, True]
        )
        taught = (by_y if weight is not None else None, sums if ctx.needs_input_grad[3] else None)
        if call.transport.way.hebbian:  # the error passes by
            return None, None, *taught, None, None
        size, scale = x.shape[1], call.transport.scale
        counted = torch.cat([sums, by_y]) * (call.joint.weight(summed=True) * scale)
        first, second = torch.split(call.joint.sum(counted) / (numbers * scale), [size, size])
        shape = [1, size, *[1] * (x.dim() - 2)]
        slope = inverse if weight is None else inverse * weight
        away = torch.addcmul(first.reshape(shape), x - m.reshape(shape), (second * inverse).reshape(shape))
        dx = (dy - away) * slope.reshape(shape)
        return None, dx.to(x.dtype), *taught, None, None
