"""What ``fit`` is asked for, checked before any work is done."""

import warnings
from dataclasses import dataclass
from pathlib import Path

from torch.optim import LBFGS, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from compiler.pipeline import frozen_parameters
from runtime.errors import TrainingError, TrainingWarning
from runtime.learner import Learner
from runtime.metrics import Measure


@dataclass(frozen=True)
class Request:
    """The arguments of ``fit``, without the data.

    ``tested``: whether there is test data; ``still``: whether the training data's batches draw no random numbers when taken.
    """

    learner: Learner
    optimizer: Optimizer
    tested: bool
    epochs: int
    batch_size: int
    seed: int
    scheduler: LRScheduler | None
    clip_norm: float | None
    measure: Measure | None
    measure_start: bool
    folder: Path | None
    checkpoint_every: int | None
    resume: bool
    still: bool


def check(request: Request) -> None:
    """Refuse what cannot be.

    Raises:
        TrainingError: naming the argument and the way out.
    """
    _check_numbers(request)
    _check_scheduler(request)
    _check_optimizer(request.learner, request.optimizer)


def _check_numbers(request: Request) -> None:
    counts = {"epochs": request.epochs, "batch_size": request.batch_size, "checkpoint_every": request.checkpoint_every}
    for name, value in counts.items():
        if value is not None and (not isinstance(value, int) or value < 1):
            raise TrainingError(f"{name}={value!r} cannot be. Give a whole number from 1 on.")
    if request.clip_norm is not None and not request.clip_norm > 0:
        raise TrainingError(f"clip_norm={request.clip_norm!r} would undo every update. Give a number above 0, or None.")
    asked = {"resume=True": request.resume, f"checkpoint_every={request.checkpoint_every}": request.checkpoint_every is not None}
    for name in (name for name, given in asked.items() if given and request.folder is None):
        raise TrainingError(f"{name} needs the folder that keeps the run. Pass folder=... as well.")


def _check_scheduler(request: Request) -> None:
    scheduler = request.scheduler
    if scheduler is None:
        return
    if scheduler.optimizer is not request.optimizer:
        raise TrainingError(
            f"The {type(scheduler).__name__} steers another optimizer than the one that was passed. Build it from this one."
        )
    if isinstance(scheduler, ReduceLROnPlateau) and not request.tested:
        raise TrainingError("ReduceLROnPlateau waits for the loss on test data, and there is none. Pass test=..., or another one.")


def _check_optimizer(learner: Learner, optimizer: Optimizer) -> None:
    if isinstance(optimizer, LBFGS):
        raise TrainingError("LBFGS evaluates the loss several times a step, and learn computes one step. Use SGD or Adam.")
    own = {id(parameter): name for name, parameter in learner.named_parameters()}
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if not held & own.keys():
        raise TrainingError(
            "The optimizer holds none of the learner's parameters, so nothing would change. Build it from learner.parameters()."
        )
    left = [name for key, name in own.items() if key not in held and name in learned_parameters(learner)]
    if left:
        shown = ", ".join(left[:3] + ["..."] * (len(left) > 3))
        warnings.warn(
            f"The optimizer leaves out {len(left)} of the learner's learned parameters ({shown}): they keep their values. "
            "Build it from learner.parameters() to train all.",
            TrainingWarning,
            stacklevel=4,
        )


def learned_parameters(learner: Learner) -> set[str]:
    """Names, as the learner has them, of every parameter and error synapse that a step fills ``.grad`` of."""
    program, plan = learner.program, learner.program.plan
    forward = {f"model.{name}" for name in plan.dataflow.trainable - frozen_parameters(plan)}
    synapses = learner.error_synapses()
    errors = {id(synapses[name]) for name, parameter in program.error_parameters.items() if parameter.learns}
    return forward | {name for name, parameter in learner.named_parameters() if id(parameter) in errors}
