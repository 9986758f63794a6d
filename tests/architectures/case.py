"""What the oracle test needs to know about one network, and the usual random inputs and labels."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BATCH = 4
CLASSES = 5

Inputs = Callable[[], tuple[Tensor, ...]]
Labels = Callable[[], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """One network: ``loss(build()(*inputs()), labels())`` is a scalar.

    ``build`` draws from the global random state, so seed it; ``inputs`` and ``labels`` are the same at every call.
    ``random`` says that the forward pass draws as well (dropout), so seed again before each of two passes to compare.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Inputs
    labels: Labels
    loss: Loss = F.cross_entropy
    random: bool = False


def generator() -> torch.Generator:
    """The source of all inputs and labels."""
    return torch.Generator().manual_seed(0)


def images(channels: int = 3, size: int = 8) -> Inputs:
    """One input ``[4, channels, size, size]``, normal."""
    return lambda: (torch.randn(BATCH, channels, size, size, generator=generator()),)


def vectors(*features: int) -> Inputs:
    """One input ``[4, *features]``, normal."""
    return lambda: (torch.randn(BATCH, *features, generator=generator()),)


def tokens(vocabulary: int, length: int) -> Inputs:
    """One input ``[4, length]`` of int64 below ``vocabulary``."""
    return lambda: (torch.randint(vocabulary, (BATCH, length), generator=generator()),)


def labels() -> Tensor:
    """``[4]`` int64 below 5."""
    return torch.randint(CLASSES, (BATCH,), generator=generator())
