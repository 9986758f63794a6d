"""What an epoch came to, and where it is written: the history, a CSV file, TensorBoard."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

from runtime.learner import Learner

Measure = Callable[[Learner, int], Mapping[str, float]]
"""Called as ``measure(learner, epoch)``: numbers by name, none in epochs in which nothing is measured."""


@dataclass(frozen=True)
class EpochMetrics:
    """One epoch. Losses and the discrepancy are means over samples, accuracies lie in [0, 1].

    ``epoch`` counts from 1 and ``step`` from the start of the run; ``learning_rate`` is the first group's in this epoch;
    ``seconds`` are those of training, and ``samples_per_second`` belongs to them. ``None`` where there is nothing to tell:
    no class labels, no test data.
    """

    epoch: int
    step: int
    train_loss: float
    train_accuracy: float | None
    discrepancy: float
    test_loss: float | None
    test_accuracy: float | None
    learning_rate: float
    seconds: float
    samples_per_second: float

    def line(self, epochs: int) -> str:
        """The epoch in words."""
        parts = [f"epoch {self.epoch}/{epochs}", f"loss {self.train_loss:.4f}"]
        parts += [f"accuracy {self.train_accuracy:.2%}"] if self.train_accuracy is not None else []
        parts += [f"test loss {self.test_loss:.4f}"] if self.test_loss is not None else []
        parts += [f"test accuracy {self.test_accuracy:.2%}"] if self.test_accuracy is not None else []
        return ", ".join([*parts, f"rate {self.learning_rate:.3g}", f"{self.samples_per_second:.0f} samples/s"])


@dataclass(frozen=True)
class Measured:
    """What the caller's ``measure`` found behind an epoch (from 1)."""

    epoch: int
    numbers: dict[str, float]


@dataclass(frozen=True)
class History:
    """What ``fit`` returns: every epoch of the run, those before a resumption included, and what was measured besides."""

    epochs: tuple[EpochMetrics, ...] = ()
    measured: tuple[Measured, ...] = ()

    @property
    def last(self) -> EpochMetrics:
        """The epoch that ended last."""
        return self.epochs[-1]

    def and_then(self, row: EpochMetrics, numbers: Mapping[str, float]) -> "History":
        """With one more epoch; without an entry for ``numbers`` where there are none."""
        found = (Measured(row.epoch, {name: float(number) for name, number in numbers.items()}),) if numbers else ()
        return History((*self.epochs, row), (*self.measured, *found))


class MetricsFile:
    """A CSV file with a row an epoch; empty cells where there is nothing to tell."""

    def __init__(self, path: Path, rows: Sequence[EpochMetrics]) -> None:
        """Write the file anew with ``rows``: those of epochs behind the restored one go."""
        self.path = path
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([column.name for column in fields(EpochMetrics)])
            writer.writerows(astuple(row) for row in rows)

    def append(self, row: EpochMetrics) -> None:
        """Add a row; it is in the file when this returns."""
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerow(astuple(row))


class Board:
    """TensorBoard's scalars by epoch, where TensorBoard is installed; else nothing."""

    def __init__(self, folder: Path, first: int) -> None:
        """Write below ``folder`` from epoch ``first`` on; what a run before wrote of it and later is hidden."""
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter  # only here: it is no requirement
        except ImportError:
            return
        self._writer = SummaryWriter(folder, purge_step=first)

    def append(self, row: EpochMetrics) -> None:
        """Write an epoch."""
        if self._writer is None:
            return
        for name, value in asdict(row).items():
            if name not in ("epoch", "step") and value is not None:
                self._writer.add_scalar(name, value, row.epoch)
        self._writer.flush()

    def close(self) -> None:
        """End the file."""
        if self._writer is not None:
            self._writer.close()
