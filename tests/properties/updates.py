"""Updates of a step by name, and how far two sets of them are apart."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from runtime import Learner

NOISE = 1e-6
"""Of the largest update's norm: below it an update may be the rounding of larger numbers that cancel (a bias before a batch norm)."""


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """What a step or ``backward`` has left in ``.grad``."""
    return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


def step(learner: Learner, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The updates of the model's parameters by one step, always with the same random numbers."""
    learner.zero_grad()
    torch.manual_seed(1)
    learner.learn(x, y)
    return gradients(learner.model)


def step_of_synapses(learner: Learner) -> dict[str, Tensor]:
    """What the last step has left for the error synapses that learn."""
    return {name: value.grad for name, value in learner.error_synapses().items() if value.grad is not None}


def autograd(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The gradients of the cross entropy."""
    model.zero_grad()
    torch.manual_seed(1)
    F.cross_entropy(model(x), y).backward()
    return gradients(model)


def apart(got: Mapping[str, Tensor], want: Mapping[str, Tensor]) -> float:
    """The largest relative distance of two updates of one name; relative to the largest of all where its own may be noise."""
    assert got.keys() == want.keys()
    largest = max((value.norm().item() for value in want.values()), default=0.0)
    worst = 0.0
    for name, value in want.items():
        size = value.norm().item()
        scale = size if size > NOISE * largest else largest
        distance = (got[name] - value).norm().item()
        worst = max(worst, distance / scale if distance else 0.0)
    return worst
