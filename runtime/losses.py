"""Losses by name: what a study says its network is trained on."""

import torch.nn.functional as F
from torch import Tensor

from compiler.signal import Loss, one_hot
from runtime.errors import TrainingError


def bce(output: Tensor, labels: Tensor) -> Tensor:
    """Sigmoid outputs under binary cross entropy, a mean over samples and classes.

    Arguments:
        output: logits ``[N, C]``. ``labels``: class indices ``[N]``, or targets in [0, 1] as ``[N, C]``.
    """
    return F.binary_cross_entropy_with_logits(output, one_hot(labels, output))


LOSSES: dict[str, Loss] = {"cross_entropy": F.cross_entropy, "bce": bce, "mse": F.mse_loss}


def loss_named(name: str) -> Loss:
    """The loss function of this name.

    Raises:
        TrainingError: there is none.
    """
    if name not in LOSSES:
        raise TrainingError(f"No loss is called {name!r}. Losses: {', '.join(LOSSES)}.")
    return LOSSES[name]
