"""Several wirings on one model and data: from the same parameters, on the same batches, timed in turn."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from compiler import compile
from runtime.alignment import alignment
from runtime.comparison import Angle, Comparison, Cost, Outcome, Row
from runtime.data import Data
from runtime.errors import NonFiniteLoss
from runtime.learner import Learner
from runtime.models import build_model
from runtime.recipe import Recipe
from runtime.timing import step_times
from runtime.training import fit
from wiring import Wiring, parse_wiring
from wiring.errors import ErrorwireError

REFERENCE = "bp"


def compare(
    model: str,
    wirings: Sequence[str],
    data: Data,
    recipe: Recipe | None = None,
    *,
    stage: Callable[[str], object] = lambda text: None,
    done: Callable[[Comparison], object] = lambda comparison: None,
) -> Comparison:
    """Train a model by each of several wirings, and measure what each costs.

    A wiring that does not compile, or whose loss stops being finite, gets a row that says so; the others go on.

    Arguments:
        model: its text, as ``resnet8:width=8``.
        wirings: their texts, as ``rec_lra:depth=2``; ``bp`` comes first where it is not among them.
        data: trained on its training split, tested on the other after each epoch.
        recipe: how all are trained.
        stage: called with what begins. ``done``: called behind each row with all rows so far.

    Raises:
        OptionError, InvalidWiring, ModelError: a text that names nothing; before anything is trained.
    """
    recipe = recipe or Recipe()
    parsed = {text: parse_wiring(text) for text in with_reference(wirings)}
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        origin = build_model(model, data.input_shape, data.classes)
        x, y = (part[: recipe.batch_size] for part in (data.train.x, data.train.y))
        entries = []
        for text, wiring in parsed.items():
            stage(f"compiling {text}")
            entries.append(_entered(text, wiring, origin, (x, y), recipe))
        stage(f"timing the steps of {len(entries)} wirings")
        times = step_times({entry.row.wiring: entry.learner for entry in entries if entry.learner is not None}, x, y)
        parameters = sum(parameter.numel() for parameter in origin.parameters())
        comparison = Comparison(model, data.name, parameters, recipe)
        for number, entry in enumerate(entries, 1):
            stage(f"training {entry.row.wiring}, {number} of {len(entries)}")
            row = replace(entry.row, step=times.get(entry.row.wiring))
            row = row if entry.learner is None else _trained(row, entry.learner, data, recipe)
            comparison = replace(comparison, rows=(*comparison.rows, row))
            done(comparison)
    return comparison


def with_reference(wirings: Sequence[str]) -> tuple[str, ...]:
    """Each text once, backpropagation in front where it is missing."""
    texts = tuple(dict.fromkeys(text.strip() for text in wirings))
    return texts if REFERENCE in texts else (REFERENCE, *texts)


@dataclass(frozen=True)
class _Entry:
    """A wiring that goes to the start, or does not: then without a learner."""

    row: Row
    learner: Learner | None = None


def _entered(text: str, wiring: Wiring, origin: nn.Module, example: tuple[Tensor, Tensor], recipe: Recipe) -> _Entry:
    """Compile a wiring on its own copy of the model, and try a step."""
    model = copy.deepcopy(origin)
    try:
        program = compile(model, wiring, example, autocast=recipe.dtype)
        report = program.report()
        learner = Learner(program, seed=recipe.seed)
        _try(learner, *example)
    except ErrorwireError as problem:
        return _Entry(Row(text, _outcome(problem), str(problem)))
    cost = Cost(
        report.error_parameters,
        report.flops / max(report.bp_flops, 1),
        report.peak_activation_bytes / max(report.bp_peak_activation_bytes, 1),
    )
    return _Entry(Row(text, "trained", cost=cost), learner)


def _try(learner: Learner, x: Any, y: Any) -> None:
    """A step of which nothing stays."""
    before = copy.deepcopy(learner.state_dict())
    learner.learn(x, y)
    learner.load_state_dict(before)
    learner.zero_grad(set_to_none=True)


def _trained(row: Row, learner: Learner, data: Data, recipe: Recipe) -> Row:
    torch.manual_seed(recipe.seed)
    try:
        history = fit(
            learner,
            recipe.optimiser(learner),
            data.train,
            epochs=recipe.epochs,
            test=data.test,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            progress=False,
        )
        return replace(row, history=history.epochs, angle=_angle(learner, data, recipe))
    except ErrorwireError as problem:
        return replace(row, outcome=_outcome(problem), reason=str(problem))


def _angle(learner: Learner, data: Data, recipe: Recipe) -> Angle:
    """To backpropagation, on the first test images, as many as a batch has."""
    learner.train()
    measured = alignment(learner, data.test.x[: recipe.batch_size], data.test.y[: recipe.batch_size])
    tensors = sum(not math.isnan(angle) for angle in measured.parameters.values())
    return Angle(measured.mean, tensors, measured.sites)


def _outcome(problem: ErrorwireError) -> Outcome:
    return "diverged" if isinstance(problem, NonFiniteLoss) else "refused"
