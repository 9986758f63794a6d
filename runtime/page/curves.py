"""History -> what is drawn over epochs: curves, angles by site, norms by weight and by error synapse."""

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from runtime.metrics import EpochMetrics, History, Measured
from runtime.page.record import Shown
from runtime.watching import ANGLE, SYNAPSE, WEIGHT

MOST = 100  # columns over time; of longer runs as many, evenly spread, first and last among them
DIGITS = 5


def curves(history: History) -> dict[str, list[float | None]]:
    """Every column of the metrics, a value an epoch; ``None`` where there is none or none that is finite."""
    return {column.name: [_number(getattr(row, column.name)) for row in history.epochs] for column in fields(EpochMetrics)}


def measured(run: Shown) -> dict[str, dict[str, Any]]:
    """Angles to backpropagation in degrees, and norms of weights and of error synapses: a row a name, a column an epoch."""
    found = spread(run.history.measured)
    angles = _table(found, ANGLE)
    if not angles["names"] and run.angles and run.history.epochs:
        last = run.history.last.epoch
        angles = {"epochs": [last], "names": list(run.angles), "rows": [[_number(value)] for value in run.angles.values()]}
    return {"angles": angles, "weights": _table(found, WEIGHT), "synapses": _table(found, SYNAPSE)}


def spread(found: Sequence[Measured]) -> list[Measured]:
    """At most ``MOST`` of them, evenly spread, the first and the last among them."""
    if len(found) <= MOST:
        return list(found)
    return [found[round(place * (len(found) - 1) / (MOST - 1))] for place in range(MOST)]


def _table(found: Sequence[Measured], prefix: str) -> dict[str, Any]:
    there = [entry for entry in found if any(name.startswith(prefix) for name in entry.numbers)]
    names = list(dict.fromkeys(name for entry in there for name in entry.numbers if name.startswith(prefix)))
    return {
        "epochs": [entry.epoch for entry in there],
        "names": [name.removeprefix(prefix) for name in names],
        "rows": [[_number(entry.numbers.get(name)) for entry in there] for name in names],
    }


def _number(value: float | None) -> float | None:
    """To five digits; JSON knows no ``nan`` and no infinity."""
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")
