"""What ``train --watch`` measures of a run besides: how its credit lies to backpropagation's, and how long weights are."""

import math
from collections.abc import Mapping
from typing import Any

from compiler import CompileError
from runtime.alignment import alignment
from runtime.learner import Learner
from runtime.metrics import Measure

ANGLE, WEIGHT, SYNAPSE = "angle ", "norm of weight ", "norm of synapse "
"""What the names of the numbers begin with; the name of a site, a parameter of the model or an error synapse follows."""


def watch(x: Any, y: Any) -> Measure:
    """A measure for ``fit``: on one batch, the same each time, the angles of ``angles``, and the norms of ``norms``.

    Numbers that are undefined or infinite are left out, and all angles where backpropagation cannot train the model.
    """

    def measure(learner: Learner, epoch: int) -> Mapping[str, float]:
        found = {**angles(learner, x, y), **norms(learner)}
        return {name: number for name, number in found.items() if math.isfinite(number)}

    return measure


def angles(learner: Learner, x: Any, y: Any) -> dict[str, float]:
    """Degrees, 0 to 180, between each site's credit and the gradient of the loss at its pre-activation."""
    try:
        found = alignment(learner, x, y).sites
    except CompileError:
        return {}
    return {f"{ANGLE}{site}": degrees for site, degrees in found.items()}


def norms(learner: Learner) -> dict[str, float]:
    """Frobenius norms of the weights of two axes and more, and of every error synapse."""
    weights = {name: parameter for name, parameter in learner.model.named_parameters() if parameter.dim() > 1}
    return {
        **{f"{WEIGHT}{name}": float(weight.detach().norm()) for name, weight in weights.items()},
        **{f"{SYNAPSE}{name}": float(synapse.detach().norm()) for name, synapse in learner.error_synapses().items()},
    }
