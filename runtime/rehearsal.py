"""A step before the first one, of which nothing stays."""

import copy
from typing import Any

import torch

from runtime.learner import Learner


def rehearse(learner: Learner, x: Any, y: Any) -> None:
    """Learn from a batch and put everything back: what backend, model or labels do not admit shows before the work begins.

    Raises:
        ErrorwireError: whatever ``learner.learn`` raises; then too nothing has changed.
    """
    before = copy.deepcopy(learner.state_dict())
    with torch.random.fork_rng():
        learner.learn(x, y)
    learner.load_state_dict(before)
    learner.zero_grad(set_to_none=True)
