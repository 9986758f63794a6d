"""When the tasks of a step ran, by a stopwatch that executors call around every launch, beside what the cost model foresaw."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

import torch
from torch import Tensor

from compiler import UpdateProgram
from compiler.planning import on_the_way, scheduled, task_seconds
from compiler.roofline import roofline
from compiler.schedule import Schedule
from compiler.simulation import Span, makespan, simulate
from runtime.errors import BackendError
from runtime.executors.executor import Executor, finish
from runtime.executors.first import first_values
from runtime.executors.registry import executor

WARM_UP = 3


class Clock(Protocol):
    """What gives the moments of a device."""

    def mark(self) -> Any:
        """This moment."""
        ...

    def seconds(self, start: Any, end: Any) -> float:
        """Seconds from one mark to another."""
        ...


class HostClock:
    """The processor's own: an operator is done when its call returns."""

    def mark(self) -> float:
        return perf_counter()

    def seconds(self, start: float, end: float) -> float:
        return end - start


class CudaClock:
    """Events on a device's current stream: the moment when that stream gets to them."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event

    def seconds(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        end.synchronize()
        return 1e-3 * float(start.elapsed_time(end))


class Stopwatch:
    """Hooks that take the time around every launch: ``begin``, then the step, then ``spans``."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """Time 0 of a step; what was taken before is forgotten."""
        self._before: dict[str, Any] = {}
        self._taken: list[tuple[str, int, Any, Any]] = []
        self._start = self._clock.mark()

    def before(self, task: str, stream: int) -> None:
        self._before[task] = self._clock.mark()

    def after(self, task: str, stream: int) -> None:
        self._taken.append((task, stream, self._before[task], self._clock.mark()))

    def freed(self, value: Tensor) -> None:
        """Takes no time of its own."""

    def spans(self) -> tuple[Span, ...]:
        """The tasks since ``begin`` by their start, in seconds since then."""
        since = self._clock.seconds
        found = [Span(task, stream, since(self._start, a), since(self._start, b)) for task, stream, a, b in self._taken]
        return tuple(sorted(found, key=lambda span: (span.start, span.stream)))


@dataclass(frozen=True)
class Timeline:
    """A step under ``schedule``. ``predicted``: by the cost model; ``measured``: on ``executor``, the median of ``steps``.

    ``unwatched``: seconds of a step with nobody looking on, also a median; executors may then run several operators as one.
    """

    executor: str
    schedule: Schedule
    predicted: tuple[Span, ...]
    measured: tuple[Span, ...]
    steps: int
    unwatched: float

    @property
    def groups(self) -> Mapping[str, tuple[Span, ...]]:
        """Both by their names, predicted first."""
        return {"predicted": self.predicted, "measured": self.measured}

    def busy(self, group: str) -> tuple[float, ...]:
        """The share of a group's time in which each stream runs a task."""
        spans = self.groups[group]
        whole = makespan(spans)
        return tuple(
            sum(span.end - span.start for span in spans if span.stream == stream) / whole if whole else 0.0
            for stream in range(self.schedule.streams)
        )


def measure_timeline(program: UpdateProgram, streams: int = 2, backend: str | None = None, steps: int = 10) -> Timeline:
    """Run the example's step under its schedule and take the time of every task. Nothing of the model changes.

    Arguments:
        streams: of the schedule.
        backend: ``"threads"`` (the default on a CPU), ``"serial"`` or ``"streams"`` (CUDA, the default there).
        steps: how many are timed, behind a few to warm up. The timeline is that of the step whose whole time is their median.

    Raises:
        BackendError: a backend that does not exist, does not run on the program's device or lets nobody look on; fewer than
            one stream or step.
    """
    lowered, device = program.lowered, program.lowered.device
    name = backend or ("streams" if device.type == "cuda" else "threads")
    runner = _watchable(name, streams)
    if steps < 1:
        raise BackendError(f"A timeline cannot be measured over {steps} steps. Ask for 1 or more.")
    cost = roofline(device, None if name == "serial" else 1)
    schedule = scheduled(lowered, streams, cost)
    watch = Stopwatch(CudaClock(device) if device.type == "cuda" else HostClock())
    watched, alone, inputs = runner.prepare(lowered, schedule, watch), runner.prepare(lowered, schedule), first_values(program)
    taken, seconds = [], []
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        for step in range(WARM_UP + steps):
            watch.begin()
            watched(inputs)
            spans = watch.spans()
            finish(device)
            start = perf_counter()
            alone(inputs)
            finish(device)
            if step >= WARM_UP:
                taken.append(spans)
                seconds.append(perf_counter() - start)
    median = sorted(taken, key=makespan)[(steps - 1) // 2]
    predicted = simulate(lowered.tasks, schedule, task_seconds(lowered, cost), cost.wait, on_the_way(lowered, cost))
    return Timeline(str(runner), schedule, predicted, median, steps, statistics.median(seconds))


def _watchable(name: str, streams: int) -> Executor:
    runner = executor(name, streams)
    if name == "auto":
        raise BackendError(
            "Backend 'auto' picks another one by itself, so nobody can look on. Name one: 'serial', 'threads' (CPU) or 'streams' (CUDA)."
        )
    return runner
