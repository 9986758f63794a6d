"""How long a learning step takes, in units of plain eager backpropagation on the same model and batch."""

import copy
import math
import statistics
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch

from runtime.learner import Learner
from runtime.turns import in_rounds, seconds_of
from runtime.unchanged import unchanged

WARM_UP = 3
FEWEST = 5
AT_LEAST = 0.01  # seconds; shorter steps are repeated within a round, since the clock and the machine are coarse


@dataclass(frozen=True)
class StepTime:
    """``ratio``: the median over ``rounds`` of a step's time over backpropagation's; ``low``, ``high``: its quartiles.

    ``milliseconds`` and ``bp_milliseconds``: the medians themselves.
    """

    ratio: float
    low: float
    high: float
    milliseconds: float
    bp_milliseconds: float
    rounds: int


def step_times(learners: Mapping[str, Learner], x: Any, y: Any, rounds: int = 30, seconds: float = 20.0) -> dict[str, StepTime]:
    """Time ``learner.learn(x, y)`` of every learner against forward, loss and ``backward()`` in torch, no optimiser.

    Each round times everything once, in a new order, and ratios are taken in a round. Parameters, buffers, gradients and the random
    generator are as before afterwards.

    Arguments:
        learners: by name, all of one model.
        rounds, seconds: stop after so many rounds, or sooner when the time is used up and 5 are done.
    """
    if not learners:
        return {}
    steps: dict[str | None, Callable[[], float]] = {None: _plain(next(iter(learners.values())), x, y)}
    steps |= {name: _learning(learner, x, y) for name, learner in learners.items()}
    with ExitStack() as left:
        for learner in learners.values():
            left.enter_context(unchanged(learner))
        warm = {name: [step() for _ in range(WARM_UP)] for name, step in steps.items()}
        repeats = max(1, math.ceil(AT_LEAST / min(warm[None])))
        taken = in_rounds(steps, rounds, seconds, FEWEST, repeats)
    return {name: _summary(taken[name], taken[None]) for name in learners}


def _learning(learner: Learner, x: Any, y: Any) -> Callable[[], float]:
    device = learner.program.lowered.device

    def step() -> float:
        learner.zero_grad(set_to_none=True)
        return seconds_of(lambda: learner.learn(x, y), device)

    return step


def _plain(learner: Learner, x: Any, y: Any) -> Callable[[], float]:
    """Backpropagation as anybody would write it, on a copy of the model."""
    model, source = copy.deepcopy(learner.model), learner.program.source

    def step() -> None:
        with torch.autocast(x.device.type, dtype=source.autocast, enabled=source.autocast is not None):
            loss = source.loss(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]

    def timed() -> float:
        model.zero_grad(set_to_none=True)
        return seconds_of(step, x.device)

    return timed


def _summary(own: list[float], plain: list[float]) -> StepTime:
    ratios = [a / b for a, b in zip(own, plain, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return StepTime(middle, low, high, 1e3 * statistics.median(own), 1e3 * statistics.median(plain), len(ratios))
