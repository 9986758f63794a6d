"""Optimisers and schedules by text: ``sgd:lr=0.01,momentum=0.9,nesterov=true``, ``step:every=1,factor=0.85``.

Forward parameters and learned error synapses may each have their own of both.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from runtime.errors import TrainingError
from runtime.learner import Learner
from runtime.request import learned_parameters
from wiring.text import parse_call

OPTIMIZERS: dict[str, type[Optimizer]] = {"adam": Adam, "sgd": SGD, "adamw": AdamW}
GIVEN = ("self", "params", "fused")  # what the builder itself gives to an optimiser; never an option


class Joined(Optimizer):
    """Several optimisers that step together, each over parameters of its own; a scheduler sees the groups of all."""

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        self.parts = tuple(parts)
        super().__init__([group for part in parts for group in part.param_groups], {})

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """A step of each. ``closure`` is not called: a learner's step has filled ``.grad`` already."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """The parts' own, in order."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Bring back what ``state_dict`` returned."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def build_optimizer(learner: Learner, text: str, error_text: str | None = None) -> Optimizer:
    """The optimiser that ``text`` names over all that the learner learns, its updates computed by torch's fused kernels.

    Arguments:
        text: ``NAME`` or ``NAME:key=value,...`` with the options that torch's class of this name takes.
        error_text: one of their own for the error synapses, where any are learned.

    Raises:
        TrainingError: no such optimiser or option, or a value that it refuses.
        OptionError: a text that cannot be read.
    """
    learned, own = learned_parameters(learner), {id(parameter) for parameter in learner.error_parameters()}
    named = [(parameter, id(parameter) in own) for name, parameter in learner.named_parameters() if name in learned]
    forward, error = ([parameter for parameter, is_error in named if is_error is wanted] for wanted in (False, True))
    parts = [_optimizer(text, forward)] if error_text is not None else [_optimizer(text, forward + error)]
    if error_text is not None and error:
        parts.append(_optimizer(error_text, error))
    return parts[0] if len(parts) == 1 else Joined(parts)


def _optimizer(text: str, parameters: Sequence[Parameter]) -> Optimizer:
    name, options = parse_call(text)
    if name not in OPTIMIZERS:
        raise TrainingError(f"No optimiser is called {name!r}. Optimisers: {', '.join(OPTIMIZERS)}.")
    kind = OPTIMIZERS[name]
    known = [key for key in inspect.signature(kind).parameters if key not in GIVEN]
    for key in options:
        if key not in known:
            raise TrainingError(f"Optimiser {text!r}: {name!r} has no option {key!r}. It takes: {', '.join(known)}.")
    try:
        return kind(parameters, fused=True, **options)  # type: ignore[call-arg, arg-type]
    except (TypeError, ValueError) as problem:
        raise TrainingError(
            f"Optimiser {text!r} cannot be built: {problem}. Give a value that torch's {kind.__name__} takes."
        ) from problem


@dataclass(frozen=True)
class Step:
    """The rate of epoch ``e`` (from 0) is ``factor ** (e // every)`` of the first.

    Raises:
        TrainingError: ``every`` below 1, or a factor that is not above 0.
    """

    every: int
    factor: float

    def __post_init__(self) -> None:
        if self.every < 1 or not self.factor > 0:
            raise TrainingError(
                f"Schedule step:every={self.every},factor={self.factor} cannot be. Give every from 1 on, factor above 0."
            )

    def __call__(self, epoch: int) -> float:
        return float(self.factor ** (epoch // self.every))


def build_schedule(optimizer: Optimizer, text: str | None, error_text: str | None = None) -> LRScheduler | None:
    """The schedule that ``text`` names, stepped once an epoch; ``None`` where there is none.

    Arguments:
        optimizer: from ``build_optimizer``.
        error_text: another one for the error synapses of a ``Joined``, which otherwise have the same.

    Raises:
        TrainingError: no such schedule.
        OptionError: a text that cannot be read.
    """
    if text is None and error_text is None:
        return None
    forward, error = _rate(text), _rate(error_text if error_text is not None else text)
    first = {id(group) for group in (optimizer.parts[0] if isinstance(optimizer, Joined) else optimizer).param_groups}
    return LambdaLR(optimizer, [forward if id(group) in first else error for group in optimizer.param_groups])


def _rate(text: str | None) -> Callable[[int], float]:
    """What an epoch's rate (from 0) is multiplied by."""
    if text is None:
        return Step(1, 1.0)
    name, options = parse_call(text)
    if name != "step" or options.keys() != {"every", "factor"}:
        raise TrainingError(f"No schedule is called {text!r}. Write step:every=EPOCHS,factor=NUMBER.")
    return Step(**options)  # type: ignore[arg-type]
