"""What every trace of a step starts from: the passes' findings in one record."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from compiler.capture import Capture
from compiler.dataflow import Dataflow
from compiler.errorgraph import ErrorGraph
from compiler.formats import MemoryLayout
from compiler.signal import Loss
from wiring import Wiring


@dataclass(frozen=True)
class Plan:
    """Everything that the trace of a step depends on. ``scale``: from ``dloss/dv`` to an error; ``batch``: its ``N``.

    ``layout``: the memory format in which maps are computed.
    """

    captured: Capture
    dataflow: Dataflow
    errors: ErrorGraph
    wiring: Wiring
    loss: Loss
    batch: int
    scale: float
    context: Callable[[], Any]
    layout: MemoryLayout = "preserve"
