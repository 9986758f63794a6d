"""What every trace of a step starts from: the passes' findings in one record."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import fx

from compiler.capture import Capture
from compiler.dataflow import Dataflow
from compiler.errorgraph import ErrorGraph
from compiler.formats import MemoryLayout
from compiler.signal import Loss
from compiler.world import World
from wiring import Wiring


@dataclass(frozen=True)
class Plan:
    """Everything that the trace of a step depends on. ``scale``: from ``dloss/dv`` to an error; ``batch``: its ``N``.

    ``layout``: the memory format in which maps are computed. ``world``: the processes that learn together;
    ``joint_norms``: batch norms that use the statistics of their joint batch.
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
    world: World | None = None
    joint_norms: frozenset[fx.Node] = frozenset()
