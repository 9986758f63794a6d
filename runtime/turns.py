"""Several steps timed in turn: the machine's mood changes slowly, so that it meets all of them alike."""

import random
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import TypeVar

import torch

from runtime.executors.executor import finish

Name = TypeVar("Name")


def seconds_of(step: Callable[[], object], device: torch.device) -> float:
    """How long a step takes, from when ``device`` has nothing to do until it has nothing to do again."""
    finish(device)
    begin = perf_counter()
    step()
    finish(device)
    return perf_counter() - begin


def in_rounds(
    steps: Mapping[Name, Callable[[], float]], rounds: int, seconds: float, fewest: int = 1, repeats: int = 1
) -> dict[Name, list[float]]:
    """Times of every step, one a round; each round takes all of them, in a new order.

    Arguments:
        steps: each runs once and tells its seconds.
        rounds, seconds: stop after so many rounds, or sooner when the time is used up and ``fewest`` are done.
        repeats: how often a step runs in a round, which notes the mean.
    """
    taken: dict[Name, list[float]] = {name: [] for name in steps}
    order, shuffle = list(steps), random.Random(0).shuffle
    end = perf_counter() + seconds
    for done in range(rounds):
        if done >= fewest and perf_counter() > end:
            break
        shuffle(order)
        for name in order:
            taken[name].append(sum(steps[name]() for _ in range(repeats)) / repeats)
    return taken
