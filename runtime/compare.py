"""Several wirings on one model and data: from the same parameters, on the same batches, timed in turn."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from compiler import CompileError, compile
from runtime.alignment import alignment
from runtime.comparison import Angle, Comparison, Cost, Row
from runtime.data import Data
from runtime.errors import NonFiniteLoss
from runtime.learner import Learner
from runtime.models import build_model
from runtime.recipe import Recipe, warn_of_idle_rate
from runtime.rehearsal import rehearse
from runtime.rng import seed_rng, seeded
from runtime.timing import step_times
from runtime.watching import watch
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
    with seeded(recipe.seed):
        origin = build_model(model, data.input_shape, data.classes)
        x, y = (part[: recipe.batch_size] for part in (data.train.x, data.train.y))
        entries = []
        for text, wiring in parsed.items():
            stage(f"compiling {text}")
            entries.append(_entered(text, wiring, origin, (x, y), recipe))
        warn_of_idle_rate(recipe, [entry.learner.program for entry in entries if entry.learner is not None], "these wirings learn")
        stage(f"timing the steps of {len(entries)} wirings")
        times = step_times({entry.row.wiring: entry.learner for entry in entries if entry.learner is not None}, x, y)
        parameters = sum(parameter.numel() for parameter in origin.parameters())
        comparison = Comparison(model, data.name, parameters, recipe, (), data.input_shape, data.classes)
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
        program = compile(model, wiring, example, autocast=recipe.dtype, layout=recipe.layout)
        learner = recipe.learner(program)
        rehearse(learner, *example)
    except ErrorwireError as problem:
        return _Entry(_failed(Row(text, "refused"), problem))
    return _Entry(Row(text, "trained", cost=Cost.of(program), program=program), learner)


def _trained(row: Row, learner: Learner, data: Data, recipe: Recipe) -> Row:
    seed_rng(recipe.seed)
    row = replace(row, backend=learner.backend)
    try:
        history = recipe.fit(learner, data, measure=watch(*_looked_at(data, recipe)), measure_start=True, progress=False)
    except ErrorwireError as problem:
        return _failed(row, problem)
    if not math.isfinite(history.last.test_loss or 0.0):
        return replace(row, outcome="diverged", reason="The loss on the test data is not finite.", history=history.epochs)
    return replace(row, history=history.epochs, measured=history.measured, angle=_angle(learner, data, recipe))


def _looked_at(data: Data, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """The first test images, as many as a batch has, and their labels."""
    return data.test.x[: recipe.batch_size], data.test.y[: recipe.batch_size]


def _angle(learner: Learner, data: Data, recipe: Recipe) -> Angle | None:
    """To backpropagation, if that can be compiled."""
    learner.train()
    try:
        measured = alignment(learner, *_looked_at(data, recipe))
    except CompileError:
        return None
    tensors = sum(not math.isnan(angle) for angle in measured.parameters.values())
    parameters = sum(parameter.requires_grad for parameter in learner.forward_parameters())
    return Angle(measured.mean, tensors, parameters, measured.sites)


def _failed(row: Row, problem: ErrorwireError) -> Row:
    """A row that says what happened; of a divergence where it was, since there is no state to go on from."""
    if isinstance(problem, NonFiniteLoss):
        return replace(row, outcome="diverged", reason=problem.reason)
    return replace(row, outcome="refused", reason=str(problem))
