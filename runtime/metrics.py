"""What an epoch came to, and where it is written: the history, a CSV file, TensorBoard."""

import csv
import errno
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

from runtime.files import PLACE, FileError, reason, write_whole
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
    """What the caller's ``measure`` found behind an epoch (from 1), or before the first one (0)."""

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
        return History((*self.epochs, row), self.measured).noted(row.epoch, numbers)

    def noted(self, epoch: int, numbers: Mapping[str, float]) -> "History":
        """With ``numbers`` measured at an epoch, if there are any."""
        found = (Measured(epoch, {name: float(number) for name, number in numbers.items()}),) if numbers else ()
        return History(self.epochs, (*self.measured, *found))


class MetricsFile:
    """A CSV file with a row an epoch; empty cells where there is nothing to tell."""

    def __init__(self, path: Path, rows: Sequence[EpochMetrics]) -> None:
        """Write the file anew with ``rows``: those of epochs behind the restored one go.

        Raises:
            FileError: the disk refuses.
        """
        self.path = path
        write_whole(path, _lines([[column.name for column in fields(EpochMetrics)], *map(astuple, rows)]))

    def append(self, row: EpochMetrics) -> None:
        """Add a row; it is in the file, whole, when this returns.

        Raises:
            FileError: the disk refuses.
        """
        line = _lines([astuple(row)]).encode()
        try:
            with self.path.open("r+b", buffering=0) as file:
                end = file.seek(0, os.SEEK_END)
                if file.write(line) != len(line):
                    file.truncate(end)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as problem:
            raise FileError(f"File '{self.path}' cannot be written ({reason(problem)}). {PLACE}") from problem


def _lines(rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


class Board:
    """TensorBoard's scalars by epoch, where TensorBoard is installed; else nothing."""

    def __init__(self, folder: Path, rows: Sequence[EpochMetrics]) -> None:
        """Write below ``folder`` what follows on ``rows``: what a run before wrote of later epochs is hidden.

        The last of ``rows`` is written again, for a run can be killed between its checkpoint and this.

        Raises:
            FileError: the disk refuses.
        """
        self.folder = folder
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter  # only here: it is no requirement
        except ImportError:
            return
        with self._told():
            self._writer = SummaryWriter(folder, purge_step=rows[-1].epoch if rows else 1)
        for row in rows[-1:]:
            self.append(row)

    def append(self, row: EpochMetrics) -> None:
        """Write an epoch.

        Raises:
            FileError: the disk refuses.
        """
        if self._writer is None:
            return
        with self._told():
            for name, value in asdict(row).items():
                if name not in ("epoch", "step") and value is not None:
                    self._writer.add_scalar(name, value, row.epoch)
            self._writer.flush()

    def close(self) -> None:
        """End the file."""
        if self._writer is not None:
            with suppress(OSError):  # every epoch was flushed, or told of
                self._writer.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            raise FileError(f"Folder '{self.folder}' cannot be written to ({reason(problem)}). {PLACE}") from problem
