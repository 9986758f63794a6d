"""The reference executor: the schedule's list, one action after another, in the caller's thread."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from compiler.lowered import Lowered
from compiler.planning import scheduled
from compiler.schedule import Schedule
from runtime.executors.executor import Executor, Hooks, Run
from runtime.executors.lanes import one_lane
from runtime.executors.plain import plain


class Serial(Executor):
    """One stream, in memory order. With more, their list is run in its order: the same numbers, no concurrency."""

    name = "serial"

    def prepare(self, lowered: Lowered, schedule: Schedule | None = None, hooks: Hooks | None = None) -> Run:
        watched = hooks is not None
        lanes = one_lane(lowered, schedule or scheduled(lowered, self.streams), watched=watched, whole=not watched)
        (lane,) = lanes.functions()
        size, results = lanes.size, lanes.results

        def run(inputs: Sequence[Tensor]) -> list[Tensor]:
            v: list[Any] = [None] * size
            with plain():
                lane(inputs, v, hooks)
            return v[:results]

        return run
