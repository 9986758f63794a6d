"""Streams on a CPU: one persistent host thread for each but the first, which is the caller's own.

Operators let go of Python's lock while they compute, so branches overlap for real. An event is a lock for each stream that
waits for it: recording opens it, waiting closes it again for the next step.

An operator with enough to do spreads over the cores by itself, and better than two large ones share them: where torch may use several
threads and most of the work lies in large tasks, there is but one stream, with all of these threads in each operator.
"""

import functools
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import torch
from torch import Tensor

from compiler.lowered import Lowered
from compiler.planning import scheduled
from compiler.schedule import Record, Schedule, Wait
from compiler.tasks import nominal_seconds
from runtime.executors.executor import Executor, Hooks, Run
from runtime.executors.lanes import Lane, lane_a_stream
from runtime.executors.plain import plain
from runtime.executors.serial import Serial

LARGE = 1e-3
"""Nominal seconds of a task whose operators are worth spreading over cores."""


class Threads(Executor):
    """``streams`` host threads, each with one thread inside its operators. Equals ``serial`` with one bit for bit."""

    name = "threads"

    def __init__(self, streams: int = 2) -> None:
        super().__init__(streams)
        self._workers = Workers()
        self._turn = threading.Lock()  # events and workers serve one step at a time, whoever calls

    def prepare(self, lowered: Lowered, schedule: Schedule | None = None, hooks: Hooks | None = None) -> Run:
        if schedule is None and torch.get_num_threads() > 1 and coarse(lowered):
            return Serial().prepare(lowered, None, hooks)
        schedule = schedule or scheduled(lowered, self.streams)
        # A second wait for an event waits for nothing.
        schedule = Schedule(schedule.streams, tuple(dict.fromkeys(schedule.actions)))
        events = Events(schedule)
        lanes = lane_a_stream(lowered, schedule, events, watched=hooks is not None)
        functions = lanes.functions(events.locks)
        size, results = lanes.size, lanes.results
        busy = [stream for stream in range(1, schedule.streams) if any(a.stream == stream for a in schedule.actions)]

        def run(inputs: Sequence[Tensor]) -> list[Tensor]:
            v: list[Any] = [None] * size
            failures: list[BaseException] = []
            with self._turn, one_thread():
                jobs = [Job(functions[stream], inputs, v, hooks, failures, events.of(stream)) for stream in busy]
                try:
                    self._workers.start(jobs)
                    Job(functions[0], inputs, v, hooks, failures, events.of(0)).run()
                    for job in jobs:
                        job.finish()
                except BaseException:  # an interrupt outside the lanes: let them run out, and begin anew with the next step
                    events.open()
                    self._workers = Workers()
                    self._ready.pop(lowered, None)
                    raise
                if failures:
                    events.close()
                    raise failures[0]
            return v[:results]

        return run


def coarse(lowered: Lowered) -> bool:
    """Whether most of a step's work lies in tasks that are worth all cores."""
    seconds = [sum(map(nominal_seconds, task.nodes)) for task in lowered.tasks.tasks]
    return sum(work for work in seconds if work >= LARGE) > sum(seconds) / 2


class Events:
    """A schedule's events as locks, ``e3_to_1`` for event 3 and the stream 1 that waits for it; closed until recorded."""

    def __init__(self, schedule: Schedule) -> None:
        self._waiters: dict[int, list[int]] = {}
        self._recorded: dict[int, list[int]] = {}
        for action in schedule.actions:
            if isinstance(action, Wait):
                self._waiters.setdefault(action.event, []).append(action.stream)
            elif isinstance(action, Record):
                self._recorded.setdefault(action.stream, []).append(action.event)
        self.locks = {name: threading.Lock() for event in self._waiters for name in self._names(event)}
        self.close()

    def _names(self, event: int) -> list[str]:
        return [f"e{event}_to_{stream}" for stream in self._waiters.get(event, ())]

    def begin(self) -> list[str]:
        return []

    def enter(self, stream: int) -> list[str]:
        return []

    def record(self, event: int, stream: int) -> list[str]:
        return [f"{name}.release()" for name in self._names(event)]

    def wait(self, event: int, stream: int) -> list[str]:
        return [f"e{event}_to_{stream}.acquire()"]

    def of(self, stream: int) -> list[threading.Lock]:
        """The locks that a stream opens."""
        return [self.locks[name] for event in self._recorded.get(stream, ()) for name in self._names(event)]

    def open(self) -> None:
        """Let everybody pass who waits for an event."""
        for lock in self.locks.values():
            if lock.locked():
                lock.release()

    def close(self) -> None:
        """Every lock closed, as before a step."""
        for lock in self.locks.values():
            lock.acquire(blocking=False)


class Job:
    """One lane of one step. If it fails, its events are opened all the same, so that nobody waits for ever."""

    def __init__(
        self,
        lane: Lane,
        inputs: Sequence[Tensor],
        v: list[Any],
        hooks: Any,
        failures: list[BaseException],
        opens: list[threading.Lock],
    ) -> None:
        self._lane = functools.partial(lane, inputs, v, hooks)
        self._failures, self._opens = failures, opens
        self._over = False
        self._done = threading.Lock()
        self._done.acquire()

    def run(self) -> None:
        try:
            with plain():
                self._lane()
        except BaseException as failure:
            self._failures.append(failure)
            for lock in self._opens:
                if lock.locked():
                    lock.release()
        finally:
            self._over = True
            self._done.release()

    def finish(self) -> None:
        """Wait for the lane's end. An interrupt does not leave it running: it is raised behind the step, as a failure."""
        while not self._over:
            try:
                self._done.acquire()
            except BaseException as failure:
                self._failures.append(failure)


class Workers:
    """Host threads that wait for jobs; started when first needed, in each process anew, and stopped with their owner."""

    def __init__(self) -> None:
        self._queues: list[SimpleQueue[Job | None]] = []
        self._process = 0

    def start(self, jobs: Sequence[Job]) -> None:
        """Hand each job to a thread of its own."""
        if self._process != os.getpid():
            self._queues, self._process = [], os.getpid()
        while len(self._queues) < len(jobs):
            queue: SimpleQueue[Job | None] = SimpleQueue()
            threading.Thread(target=_work, args=(queue,), name=f"errorwire-stream-{len(self._queues) + 1}", daemon=True).start()
            weakref.finalize(self, queue.put, None)
            self._queues.append(queue)
        for queue, job in zip(self._queues, jobs, strict=False):
            queue.put(job)


def _work(queue: "SimpleQueue[Job | None]") -> None:
    torch.set_num_threads(1)
    while (job := queue.get()) is not None:
        job.run()
        del job


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread inside operators: streams use the cores already."""
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
