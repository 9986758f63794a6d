"""What a comparison of wirings came to: records, and the files that hold them."""

import csv
import io
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from compiler import CompileError, UpdateProgram
from runtime.files import write_whole
from runtime.metrics import EpochMetrics, Measured
from runtime.recipe import Recipe
from runtime.timing import StepTime

Outcome = Literal["trained", "diverged", "refused"]


@dataclass(frozen=True)
class Angle:
    """Degrees to backpropagation's update after the last step. ``mean``: over the ``tensors`` parameters that have an angle.

    ``sites``: between each site's credit and the gradient at its pre-activation; ``nan`` where a credit is zero.
    """

    mean: float
    tensors: int
    parameters: int
    sites: dict[str, float]


@dataclass(frozen=True)
class Cost:
    """``error_parameters`` in numbers; FLOPs of a step and bytes of activations at its peak, each over backpropagation's.

    ``None`` where backpropagation cannot train the model at all, as through a step function.
    """

    error_parameters: int
    flops_ratio: float | None
    activation_ratio: float | None

    @classmethod
    def of(cls, program: UpdateProgram) -> "Cost":
        """What a compiled program costs."""
        numbers = sum(parameter.numel for parameter in program.error_parameters.values())
        try:
            report = program.report()
        except CompileError:
            return cls(numbers, None, None)
        flops = report.flops / max(report.bp_flops, 1)
        return cls(numbers, flops, report.peak_activation_bytes / max(report.bp_peak_activation_bytes, 1))


@dataclass(frozen=True)
class Row:
    """A wiring, called as on the command line. ``None`` where it did not get so far; ``reason`` says why.

    ``backend``: what ran its steps, as the learner says it. ``measured``: angles and norms behind each epoch, by
    the names that ``watch`` gives them. ``program``: what it was compiled to.
    """

    wiring: str
    outcome: Outcome
    reason: str | None = None
    cost: Cost | None = None
    step: StepTime | None = None
    history: tuple[EpochMetrics, ...] = ()
    measured: tuple[Measured, ...] = ()
    angle: Angle | None = None
    backend: str | None = None
    program: UpdateProgram | None = field(default=None, repr=False, compare=False)

    @property
    def test_accuracy(self) -> float | None:
        """Behind the last epoch, in [0, 1]."""
        return self.history[-1].test_accuracy if self.history else None

    @property
    def best_test_accuracy(self) -> float | None:
        """Of the best epoch, in [0, 1]; chosen on the test data, so it flatters."""
        return max((epoch.test_accuracy for epoch in self.history if epoch.test_accuracy is not None), default=None)

    @property
    def train_accuracy(self) -> float | None:
        """Over the last epoch while it was learning, in [0, 1]."""
        return self.history[-1].train_accuracy if self.history else None

    def flat(self) -> dict[str, Any]:
        """The row's single numbers by column name."""
        step, cost, angle = self.step, self.cost, self.angle
        return {
            "wiring": self.wiring,
            "outcome": self.outcome,
            "test_accuracy": self.test_accuracy,
            "best_test_accuracy": self.best_test_accuracy,
            "train_accuracy": self.train_accuracy,
            "mean_angle": None if angle is None else _number(angle.mean),
            "angle_tensors": None if angle is None else angle.tensors,
            "step_time_ratio": None if step is None else step.ratio,
            "step_time_ratio_low": None if step is None else step.low,
            "step_time_ratio_high": None if step is None else step.high,
            "step_milliseconds": None if step is None else step.milliseconds,
            "bp_milliseconds": None if step is None else step.bp_milliseconds,
            "error_parameters": None if cost is None else cost.error_parameters,
            "flops_ratio": None if cost is None else cost.flops_ratio,
            "activation_ratio": None if cost is None else cost.activation_ratio,
            "train_seconds": sum(epoch.seconds for epoch in self.history) if self.history else None,
            "backend": self.backend,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Comparison:
    """Wirings on one model and data, trained by one recipe from the same parameters and on the same batches.

    ``input_shape``: of one input without the batch, and ``classes``, both of the data.
    """

    model: str
    data: str
    parameters: int
    recipe: Recipe
    rows: tuple[Row, ...] = ()
    input_shape: tuple[int, ...] | None = None
    classes: int | None = None

    def to_json(self) -> str:
        """Everything, as JSON text; ``null`` where there is no number."""
        tree = {"model": self.model, "data": self.data, "parameters": self.parameters, "recipe": asdict(self.recipe)}
        tree |= {"input_shape": self.input_shape, "classes": self.classes}
        rows = [
            row.flat()
            | {"record": None if row.program is None else json.loads(row.program.wiring.to_json())}
            | {"site_angles": {site: _number(angle) for site, angle in row.angle.sites.items()} if row.angle else None}
            | {"history": [{key: _number(value) for key, value in asdict(epoch).items()} for epoch in row.history]}
            | {"measured": [asdict(found) for found in row.measured]}
            for row in self.rows
        ]
        return json.dumps({**tree, "rows": rows}, indent=2, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """A line a wiring with its single numbers; empty where there is none."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(Row("", "trained").flat()), lineterminator="\n")
        writer.writeheader()
        writer.writerows(row.flat() for row in self.rows)
        return text.getvalue()

    def save(self, folder: Path) -> None:
        """Write ``comparison.json`` and ``comparison.csv``.

        Raises:
            FileError: the disk refuses.
        """
        write_whole(folder / "comparison.json", self.to_json())
        write_whole(folder / "comparison.csv", self.to_csv())


def _number(value: float | None) -> float | None:
    """JSON knows no ``nan`` and no infinity."""
    return value if value is not None and math.isfinite(value) else None
