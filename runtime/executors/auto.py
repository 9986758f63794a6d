"""The executor that turns out fastest on this machine for this step, by a short measurement side by side."""

import os
import statistics
from collections.abc import Callable, Sequence
from time import perf_counter

import torch
from torch import Tensor

from compiler.lowered import Lowered
from compiler.schedule import Schedule
from runtime.executors.executor import Executor, Hooks, Run, one_process
from runtime.executors.graph import Graph
from runtime.executors.serial import Serial
from runtime.executors.streams import Streams
from runtime.executors.threads import Threads
from runtime.turns import in_rounds, seconds_of

WARM_UP, ROUNDS, SECONDS = 2, 7, 3.0


class Auto(Executor):
    """Measures every executor that fits the device when it first sees a step, and says what it picked for the first (``str``).

    ``inductor`` is left out: it takes long to compile.
    """

    name = "auto"

    def __init__(self, streams: int | None = None) -> None:
        super().__init__(streams or 1)
        self._most = streams
        self._picked: Executor | None = None
        self._times: dict[str, float] = {}

    def __call__(self, lowered: Lowered, inputs: Sequence[Tensor]) -> list[Tensor]:
        if lowered not in self._ready:
            one_process(self.name, lowered, "measures which executor is fastest by steps of its own")
            candidates = self._candidates(lowered)
            taken = times(candidates, lowered, inputs)
            best = min(candidates, key=lambda candidate: taken[repr(candidate)])
            self._ready[lowered] = best._ready[lowered]  # a graph is not captured twice
            if self._picked is None:
                self._picked, self._times = best, taken
            self.static = self.static or best.static  # steps of other shapes may run elsewhere
        return self._ready[lowered](inputs)

    def prepare(self, lowered: Lowered, schedule: Schedule | None = None, hooks: Hooks | None = None) -> Run:
        return self._candidates(lowered)[0].prepare(lowered, schedule, hooks)

    def _candidates(self, lowered: Lowered) -> list[Executor]:
        if lowered.device.type == "cuda":
            most = self._most or 4
            return [Serial(), Streams(most), Graph(1), *([Graph(most)] if most > 1 else [])]
        most = self._most or min(4, len(os.sched_getaffinity(0)))
        return [Serial(), *(Threads(streams) for streams in range(2, most + 1))]

    def __reduce__(self) -> tuple[type["Auto"], tuple[int | None]]:
        return type(self), (self._most,)

    def __repr__(self) -> str:
        if self._picked is None:
            return "auto (nothing run yet)"
        others = ", ".join(f"{name} {1e3 * seconds:.2f} ms" for name, seconds in self._times.items())
        return f"auto: {self._picked!r} ({others})"


def times(candidates: Sequence[Executor], lowered: Lowered, inputs: Sequence[Tensor]) -> dict[str, float]:
    """Median seconds of a step by executor, in turn, within a few seconds; random generators are as before."""
    devices = [lowered.device] if lowered.device.type == "cuda" else []
    steps = {repr(candidate): _timed(candidate, lowered, inputs) for candidate in candidates}
    end = perf_counter() + SECONDS
    with torch.random.fork_rng(devices):
        for _ in range(WARM_UP):
            for step in steps.values():
                step()
        taken = in_rounds(steps, ROUNDS, end - perf_counter())
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def _timed(candidate: Executor, lowered: Lowered, inputs: Sequence[Tensor]) -> Callable[[], float]:
    return lambda: seconds_of(lambda: candidate(lowered, inputs), lowered.device)
