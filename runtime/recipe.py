"""How a learner is trained, whatever its wiring."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch.optim import Optimizer

from compiler import UpdateProgram
from compiler.formats import MemoryLayout
from runtime.data import Data
from runtime.errors import TrainingError, TrainingWarning
from runtime.executors import executor
from runtime.learner import Learner
from runtime.metrics import History
from runtime.optimizers import OPTIMIZERS, build_optimizer
from runtime.training import fit

DTYPES = {"bf16": torch.bfloat16}
LARGEST_SEED = 2**63 - 1
LAYOUTS: tuple[str, ...] = get_args(MemoryLayout)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the runs of a comparison share.

    ``momentum`` (SGD's) and ``weight_decay`` are torch's defaults where they are not given, and ``error_lr``, the rate of
    learned error synapses, is ``lr``. ``clip_norm`` cuts the length of all updates of a step together. ``seed`` draws the
    model, the error synapses and the batches. ``autocast``: ``"bf16"``. ``layout``: of the maps inside a step. ``backend`` and
    ``streams``: the learner's.

    Raises:
        TrainingError: a number out of its range, momentum without SGD, or an unknown optimiser, dtype or layout.
        BackendError: no such backend, or it cannot use so many streams.
    """

    epochs: int = 15
    batch_size: int = 32
    optimizer: str = "adam"
    lr: float = 1e-3
    error_lr: float | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    clip_norm: float | None = None
    seed: int = 0
    autocast: str | None = None
    layout: MemoryLayout = "preserve"
    backend: str = "serial"
    streams: int | None = None

    def __post_init__(self) -> None:
        for name, lowest in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
            if getattr(self, name) < lowest:
                raise TrainingError(f"The option {_written(name)} is {getattr(self, name)}. Give a whole number from {lowest} on.")
        if self.seed > LARGEST_SEED:
            raise TrainingError(f"The option --seed is {self.seed}. Give a whole number from 0 to {LARGEST_SEED}.")
        for name in ("lr", "error_lr", "weight_decay"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise TrainingError(f"The option {_written(name)} is {value}. Give a finite number from 0 on.")
        if self.momentum is not None and not 0 <= self.momentum < 1:
            raise TrainingError(f"The option --momentum is {self.momentum}. Give a number from 0 to below 1.")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise TrainingError(f"The option --clip-norm is {self.clip_norm}. Give a number above 0.")
        if self.optimizer not in OPTIMIZERS:
            raise TrainingError(f"No optimiser is called {self.optimizer!r}. Optimisers: {', '.join(OPTIMIZERS)}.")
        if self.momentum is not None and self.optimizer != "sgd":
            raise TrainingError(f"The option --momentum is SGD's, not {self.optimizer}'s. Leave it out, or use --optimizer sgd.")
        if self.autocast is not None and self.autocast not in DTYPES:
            raise TrainingError(f"The option --autocast is {self.autocast!r}. Use one of: {', '.join(DTYPES)}.")
        if self.layout not in LAYOUTS:
            raise TrainingError(f"The option --layout is {self.layout!r}. Use one of: {', '.join(LAYOUTS)}.")
        executor(self.backend, self.streams)  # refuses at once what a learner would

    def learner(self, program: UpdateProgram) -> Learner:
        """One on the recipe's backend, its error synapses drawn from the recipe's seed."""
        return Learner(program, backend=self.backend, seed=self.seed, streams=self.streams)

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype of mixed precision, or none."""
        return DTYPES[self.autocast] if self.autocast else None

    def optimiser(self, learner: Learner) -> Optimizer:
        """One over all that the learner learns; its error synapses with their own rate, if there is one."""
        return build_optimizer(learner, self._text(self.lr), None if self.error_lr is None else self._text(self.error_lr))

    def fit(self, learner: Learner, data: Data, **kept: Any) -> History:
        """Train a learner on a data set by the recipe, tested behind every epoch; ``kept``: what else ``fit`` takes."""
        return fit(
            learner,
            self.optimiser(learner),
            data.train,
            epochs=self.epochs,
            test=data.test,
            batch_size=self.batch_size,
            seed=self.seed,
            clip_norm=self.clip_norm,
            **kept,
        )

    def _text(self, lr: float) -> str:
        settings = {"lr": lr, "momentum": self.momentum, "weight_decay": self.weight_decay}
        given = ",".join(f"{name}={value!r}" for name, value in settings.items() if value is not None)
        return f"{self.optimizer}:{given}"


def learns_synapses(program: UpdateProgram) -> bool:
    """Whether any error synapse of a program is learned, which a rate of its own would be for."""
    return any(parameter.learns for parameter in program.error_parameters.values())


def warn_of_idle_rate(recipe: Recipe, programs: Sequence[UpdateProgram], who_learns: str) -> None:
    """Say so where ``error_lr`` is given and none of the programs learns an error synapse; ``who_learns``: their wirings, as a sentence begins.

    Not refused: a run that was begun so has to go on with the same options.
    """
    if recipe.error_lr is not None and programs and not any(map(learns_synapses, programs)):
        warnings.warn(
            f"The option --error-lr {recipe.error_lr:g} changes nothing: {who_learns} no error synapse of this model. "
            "Leave it out, or take a wiring that learns them.",
            TrainingWarning,
            stacklevel=3,
        )


def _written(name: str) -> str:
    """A field as the command line writes it."""
    return "--" + name.replace("_", "-")
