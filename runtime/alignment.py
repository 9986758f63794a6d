"""Angles between what a wiring does and what backpropagation would do at the same point."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from runtime.learner import Learner, named_results


@dataclass(frozen=True)
class Alignment:
    """Angles in degrees, 0 to 180; ``nan`` where one of the two vectors is zero.

    ``parameters``: between each parameter's update and its gradient. ``sites``: between each site's credit and the gradient of
    the loss at its pre-activation. ``mean``: over all parameters with an angle.
    """

    parameters: dict[str, float]
    sites: dict[str, float]

    @property
    def mean(self) -> float:
        angles = [angle for angle in self.parameters.values() if not math.isnan(angle)]
        return sum(angles) / len(angles) if angles else math.nan


def alignment(learner: Learner, x: Any, y: Any) -> Alignment:
    """Measure a batch; nothing of the learner changes, and random operators draw the same numbers in both passes.

    Raises:
        InputError, LabelError, EdgeError: a batch that the program cannot take.
    """
    own = learner.program.step(x, y, probe=True)
    twin = learner.program.backpropagation().step(x, y, probe=True)
    with _same_draws():
        ours = named_results(own, learner.run(own, x, y))
    with _same_draws():
        theirs = named_results(twin, learner.run(twin, x, y))
    parameters = {n: angle(g, theirs["gradients"][n]) for n, g in ours["gradients"].items() if n in theirs["gradients"]}
    both = [site for site in learner.program.plan.errors.sites if site in ours["credits"] and site in theirs["credits"]]
    sites = {site: angle(ours["credits"][site], theirs["credits"][site]) for site in both}
    return Alignment(parameters, sites)


def angle(one: Tensor, other: Tensor) -> float:
    """Degrees between two tensors of one shape, by ``2 atan2(|u - v|, |u + v|)`` of the unit vectors, exact near 0 and 180."""
    u, v = one.detach().double().flatten(), other.detach().double().flatten()
    lengths = u.norm(), v.norm()
    if min(lengths) == 0:
        return math.nan
    u, v = u / lengths[0], v / lengths[1]
    return math.degrees(2 * math.atan2(float((u - v).norm()), float((u + v).norm())))


@contextmanager
def _same_draws() -> Iterator[None]:
    with torch.random.fork_rng():
        yield
