"""What can be measured while a case learns, by name: numbers on a batch behind an epoch, each with a name of its own."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from runtime.alignment import alignment, angle
from runtime.errors import TrainingError
from runtime.learner import Learner
from runtime.metrics import Measure
from runtime.reproduce.activity import activity
from runtime.reproduce.problems import Problem
from runtime.reproduce.results import UPDATE
from wiring import OUTPUT

SAMPLES = 500

Measurement = Callable[[Learner, Any, Any], Mapping[str, float]]
"""Called with a learner, inputs ``[N, ...]`` and labels, in training mode; leaves the learner as it is."""


def backpropagation_angles(learner: Learner, x: Any, y: Any) -> Mapping[str, float]:
    """Degrees between credit and gradient at each site, by its name, and between the updates of weights, as ``update conv1.weight``."""
    found = alignment(learner, x, y)
    weights = {name for name, parameter in learner.model.named_parameters() if parameter.dim() > 1}
    updates = {f"{UPDATE}{name}": degrees for name, degrees in found.parameters.items() if name in weights}
    return {**found.sites, **updates}


def output_angles(learner: Learner, x: Any, y: Any) -> Mapping[str, float]:
    """Degrees between ``z_i B_i^T`` and the output's pre-activation ``v``, over the batch, by site.

    ``B_i`` is ``[C, *units of i]``, so that both are ``[N, C]``: how well a site's error synapses, turned round, are forward weights
    from the site to the output (DKP's figure). In evaluation mode. Sites that do not hear the output over a dense synapse have none.
    """
    synapses = learner.error_synapses()
    arriving = [edge for edges in learner.program.plan.errors.edges.values() for edge in edges]
    direct = {edge.target: synapses[edge.parameter] for edge in arriving if edge.source == OUTPUT and edge.parameter is not None}
    values, v = activity(learner, x, direct)
    return {site: angle(values[site].flatten(1) @ b.detach().flatten(1).T, v) for site, b in direct.items()}


MEASUREMENTS: dict[str, Measurement] = {
    "backpropagation_angles": backpropagation_angles,
    "output_angles": output_angles,
}


def measure_named(name: str, problem: Problem, every: int) -> Measure:
    """The measurement of this name on the first test samples, behind the first epoch and every ``every`` ones.

    Numbers that are undefined or infinite are left out.

    Raises:
        TrainingError: there is none.
    """
    if name not in MEASUREMENTS:
        raise TrainingError(f"No measurement is called {name!r}. Measurements: {', '.join(MEASUREMENTS)}.")
    x, y = problem.batch(SAMPLES)

    def measure(learner: Learner, epoch: int) -> Mapping[str, float]:
        if epoch != 1 and epoch % every:
            return {}
        return {key: number for key, number in MEASUREMENTS[name](learner, x, y).items() if math.isfinite(number)}

    return measure
