"""A loss that is computed outside of the program: all that comes back is its gradient at the output."""

from typing import Any

import torch
from torch import Tensor

from compiler.errors import LabelError

CLOSE = 1e-2
"""How far a sample's gradient may be from one factor times the error of its target, over the largest part of that error."""
ROUNDING = 4.0
"""How many units in the last place of 1 an error may be off, in the output's precision; smaller ones are nothing but rounding."""


class Outside:
    """Stands for the loss while a step is traced. Its labels are a pair of the output's shape: the gradient ``g`` of the loss, and the
    target ``t``, which only the signal ``target`` reads. The error is ``e = N g``, as for any loss that is a mean over the batch.
    """

    reduction = "mean"

    def __call__(self, output: Tensor, labels: tuple[Tensor, Tensor]) -> Tensor:
        return _Handed.apply(output, labels[0])  # type: ignore[no-any-return, no-untyped-call]


class _Handed(torch.autograd.Function):
    """A number of which only the gradient is known; nothing is computed for it, and the output need not be kept."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return output.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient, None


def recovered_target(gradient: Tensor, output: Tensor) -> Tensor:
    """The target, exactly, from the sign of the output's error.

    Under cross entropy over softmax or sigmoid ``g`` is a positive factor of each sample times ``softmax(v) - t`` or
    ``sigmoid(v) - t``, negative at the label and nowhere else. Where that has rounded to zero the output is the target. A sample
    whose gradient is infinite or not a number, as under a loss scale that is too high, has a target that is not a number.

    Arguments:
        gradient, output: ``[N, classes, ...]``, ``[N, ..., classes]``, or ``[N]`` for one sigmoid.

    Raises:
        LabelError: the error is no such thing: another loss, smoothed or ignored labels.
    """
    rounding = ROUNDING * torch.finfo(output.dtype).eps
    g, v = (value.detach().double() for value in (gradient, output))
    plain = _of_a_mean(g, v, rounding)
    if plain is not None:
        return plain.to(output.dtype)
    finite = g.isfinite()
    refused = torch.ones((), dtype=torch.bool)
    for axis, softmax in _readings(v):
        predicted = torch.softmax(v, axis) if softmax else torch.sigmoid(v)
        target = _target(g, predicted)
        told = _told(g, predicted - target, axis, rounding)
        if softmax:
            told &= target.sum(axis) == 1
        refused = ~told & finite.all(axis)
        if not refused.any():
            return target.masked_fill(~finite, torch.nan).to(output.dtype)
    raise LabelError(
        f"The target of sample {int(refused.nonzero()[0][0])} cannot be told from the output's error, which is not softmax(v) - t or "
        "sigmoid(v) - t for a one-hot t. Signal 'target' needs the cross entropy of one of these, without smoothed or ignored labels. "
        "Use such a loss, signal='error', or runtime.Learner, which sees the labels."
    )


def _of_a_mean(g: Tensor, v: Tensor, rounding: float) -> Tensor | None:
    """The target where all samples share one factor and their classes lie along axis 1: what nearly every loss is, in half the launches."""
    if v.dim() < 2 or v.shape[1] == 1:
        return None
    predicted = torch.softmax(v, 1)
    target = _target(g, predicted)
    error = predicted - target
    factor = torch.linalg.vector_norm(g) / torch.linalg.vector_norm(error)
    away = torch.linalg.vector_norm(torch.addcmul(g, factor, error, value=-1), torch.inf)
    return target if (away <= factor * rounding) & (target.sum(1) == 1).all() else None


def _target(g: Tensor, predicted: Tensor) -> Tensor:
    return ((g < 0) | ((g == 0) & (predicted > 0.5))).double()


def _readings(v: Tensor) -> list[tuple[int, bool]]:
    """What an output may mean: the axis of its classes, and whether they exclude one another. A softmax of one class says nothing."""
    axes = [axis for axis in dict.fromkeys((1, v.dim() - 1)) if 0 < axis < v.dim() and v.shape[axis] > 1]
    return [*((axis, True) for axis in axes), (min(1, v.dim() - 1), False)]


def _told(g: Tensor, error: Tensor, axis: int, rounding: float) -> Tensor:
    """For each sample whether ``g`` is a positive multiple of ``error``, or ``error`` is rounding."""
    factor = (g * error).sum(axis, keepdim=True) / (error * error).sum(axis, keepdim=True).clamp(min=1e-300)
    size = error.abs().amax(axis)
    away = (g - factor * error).abs().amax(axis)
    return ((factor.squeeze(axis) > 0) & (away <= factor.squeeze(axis) * (CLOSE * size + rounding))) | (size <= rounding)
