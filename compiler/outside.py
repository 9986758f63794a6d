"""A loss that is computed outside of the program: all that comes back is its gradient at the output."""

import torch
from torch import Tensor

from compiler.errors import LabelError

CLOSE = 1e-2
"""How far a sample's gradient may be from one factor times the error of its target, relatively: rounding leaves far less."""
SETTLED = 1e-4
"""An error below this everywhere is rounding as much as error; there the output itself says what the label was."""


class Outside:
    """Stands for the loss while a step is traced. Its labels are a pair of the output's shape: the gradient ``g`` of the loss, and the
    target ``t``, which only the signal ``target`` reads. The error is ``e = N g``, as for any loss that is a mean over the batch.
    """

    reduction = "mean"

    def __call__(self, output: Tensor, labels: tuple[Tensor, Tensor]) -> Tensor:
        return (output * labels[0]).sum()


def recovered_target(gradient: Tensor, output: Tensor) -> Tensor:
    """The one-hot target, exactly, from the sign of the output's error.

    Under cross entropy over softmax or sigmoid ``g`` is a positive factor of each sample times ``softmax(v) - t`` or
    ``sigmoid(v) - t``, negative at the label and nowhere else. Where that has rounded to zero the output is the target.

    Arguments:
        gradient, output: ``[N, classes]`` or ``[N, classes, ...]``.

    Raises:
        LabelError: the error is no such thing: another loss, smoothed or ignored labels.
    """
    g, v = (value.detach().double().movedim(1, -1) for value in (gradient, output))
    wrong = torch.zeros(())
    for predicted in (torch.softmax(v, -1), torch.sigmoid(v)):
        target = ((g < 0) | ((g == 0) & (predicted > 0.5))).double()
        wrong = ~_told(g, predicted - target)
        if not wrong.any():
            return target.movedim(-1, 1).to(output.dtype)
    sample = int(wrong.nonzero()[0][0])
    raise LabelError(
        f"The target of sample {sample} cannot be told from the output's error, which is not softmax(v) - t or sigmoid(v) - t for a one-hot "
        "t. Signal 'target' needs the cross entropy of one of these, without smoothed or ignored labels. Use such a loss, "
        "signal='error', or runtime.Learner, which sees the labels."
    )


def _told(g: Tensor, error: Tensor) -> Tensor:
    """For each sample whether ``g`` is a positive multiple of ``error``, or ``error`` next to nothing."""
    factor = (g * error).sum(-1) / (error * error).sum(-1).clamp(min=1e-300)
    away = (g - factor.unsqueeze(-1) * error).abs().amax(-1)
    return ((factor > 0) & (away <= CLOSE * g.abs().amax(-1))) | (error.abs().amax(-1) < SETTLED)
