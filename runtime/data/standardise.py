"""Pixels with zero mean and about unit scale, which signals that carry only a sign need: error-sign DFA, DRTP."""

import torch

from runtime.data.record import Data, Split

FLOOR = 0.1
"""Added to each deviation, so that a pixel which is nearly always blank is not blown up."""


def standardise(data: Data) -> Data:
    """``(x - mean) / (deviation + 0.1)`` for each pixel, both taken over the training split; a copy.

    Arguments:
        data: images ``[N, C, H, W]``; mean and deviation have shape ``[C, H, W]``.
    """
    deviation, mean = torch.std_mean(data.train.x, dim=0, correction=0)
    scale = deviation + FLOOR
    train, test = (Split((split.x - mean).div_(scale), split.y) for split in (data.train, data.test))
    return Data(data.name, train, test, data.classes)
