"""What a case came to with one seed, and the JSON file that keeps it."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from runtime.errors import TrainingError
from runtime.files import write_whole
from runtime.metrics import EpochMetrics, Measured
from runtime.reproduce.study import Metric

DIGITS = 6
UPDATE = "update "  # in front of the measured names that are weights' and not sites'


@dataclass(frozen=True)
class Result:
    """A run that ended.

    Arguments:
        recipe: the case's fields. ``command``: the command line, ``versions`` and ``threads``: what it ran on.
        epochs: ``asked`` for, ``done``, and those of the ``paper``. ``limit``: on training samples, if any.
        training_seconds: wall time of all training steps, those before a resumption included, without tests and measurements.
        final: in evaluation mode behind the last epoch; none where the run diverged.
        history: columns over the epochs, ``train_*`` while learning. ``measured``: columns over ``epoch``, ``None`` where undefined.
        embedding: places of test images, as ``runtime.reproduce.embedding`` says; none where the case asks for none.
    """

    study: str
    case: str
    seed: int
    outcome: Literal["finished", "diverged"]
    reason: str | None
    command: str
    versions: dict[str, str]
    threads: int
    recipe: dict[str, Any]
    epochs: dict[str, int]
    limit: int | None
    training_seconds: float
    final: dict[Metric, float] = field(default_factory=dict)
    history: dict[str, list[float | None]] = field(default_factory=dict)
    measured: dict[str, list[float | None]] = field(default_factory=dict)
    embedding: dict[str, list[float]] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the file, a line a field and a line a column.

        Raises:
            FileError: the disk refuses.
        """
        write_whole(path, f"{_text(asdict(self))}\n")


def _text(tree: Any, depth: int = 0) -> str:
    """JSON with a line a key, two levels deep, so that a column of numbers is a line."""
    if depth > 1 or not isinstance(tree, dict) or not tree:
        return json.dumps(tree)
    indent = "  " * (depth + 1)
    lines = (f"{indent}{json.dumps(key)}: {_text(value, depth + 1)}" for key, value in tree.items())
    return "{\n" + ",\n".join(lines) + f"\n{indent[2:]}}}"


def load(path: Path) -> Result:
    """The result that a file holds.

    Raises:
        TrainingError: it cannot be read, or ``Result.save`` did not write it.
    """
    try:
        return Result(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as problem:
        raise TrainingError(
            f"File '{path}' holds no result ({problem}). Mend it, or delete it and run its case again."
        ) from problem


def load_all(folder: Path) -> list[Result]:
    """Every result in a folder, in the order of the files' names; none where there is no such folder."""
    return [load(path) for path in sorted(folder.glob("*.json"))]


def history_columns(rows: Iterable[EpochMetrics]) -> dict[str, list[float | None]]:
    """Epochs as columns, accuracies as errors in percent; a column without any number is left out."""
    columns: dict[str, list[float | None]] = {}
    for row in rows:
        values = {
            "train_loss": row.train_loss, "train_error": error_percent(row.train_accuracy),
            "test_loss": row.test_loss, "test_error": error_percent(row.test_accuracy), "seconds": row.seconds,
        }  # fmt: skip
        for name, value in values.items():
            columns.setdefault(name, []).append(rounded(value))
    return {name: column for name, column in columns.items() if any(value is not None for value in column)}


def measured_columns(found: Iterable[Measured]) -> dict[str, list[float | None]]:
    """What was measured as columns over ``epoch``."""
    rows = list(found)
    names = dict.fromkeys(name for row in rows for name in row.numbers)
    columns: dict[str, list[float | None]] = {"epoch": [row.epoch for row in rows]}
    for name in names:
        columns[name] = [rounded(row.numbers.get(name)) for row in rows]
    return columns if rows else {}


def error_percent(accuracy: float | None) -> float | None:
    """The error in percent of an accuracy in [0, 1]."""
    return None if accuracy is None else 100 * (1 - accuracy)


def rounded(value: float | None) -> float | None:
    """To six significant digits, of which no figure shows more; ``None`` for what JSON has no number for."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{DIGITS}g}")
