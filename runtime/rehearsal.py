"""A step before the first one, of which nothing stays."""

from typing import Any

from runtime.data import Split
from runtime.errors import TrainingError
from runtime.learner import Learner
from runtime.measures import device_of, moved
from runtime.unchanged import unchanged
from wiring.errors import ErrorwireError


def rehearse(learner: Learner, x: Any, y: Any) -> None:
    """Learn from a batch and put everything back: what backend, model or labels do not admit shows before the work begins.

    Raises:
        ErrorwireError: whatever ``learner.learn`` raises; then too nothing has changed.
    """
    with unchanged(learner):
        learner.learn(x, y)


def rehearse_last(learner: Learner, split: Split, batch_size: int) -> None:
    """Rehearse the last batch of an epoch too where it is smaller than the others: BatchNorm, for one, takes no single sample.

    Raises:
        TrainingError: the learner takes no batch of that size.
    """
    left = len(split.y) % batch_size
    if not left or left == len(split.y):
        return
    try:
        rehearse(learner, *moved((split.x[:left], split.y[:left]), device_of(learner)))
    except ErrorwireError as problem:
        raise TrainingError(
            f"The last batch of an epoch has {left} {'sample' if left == 1 else 'samples'}: {len(split.y)} training images in "
            f"batches of {batch_size}. A step on so small a batch fails, though one on a whole batch does not ({problem}) "
            "Choose another --batch-size or --limit."
        ) from problem
