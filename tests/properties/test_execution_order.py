"""Any order of a step's tasks that its storages allow gives the same numbers, bit for bit: on one stream, on several, in threads."""

import dataclasses
import functools
import random
from collections.abc import Sequence

import pytest
import torch
from drawing import Network, dags
from hypothesis import given
from hypothesis import strategies as st
from pool import SEEDS, pooled
from programs import KEPT, learner_of
from torch import Tensor

from compiler import Roofline
from compiler.lowered import Lowered
from compiler.planning import scheduled
from compiler.schedule import Action, Free, Launch, Record, Schedule, Wait
from compiler.taskgraph import TaskGraph
from compiler.tasks import task_graph
from compiler.verify import verify
from compiler.work import Rate
from runtime.executors.serial import Serial
from runtime.executors.threads import Threads
from wiring import PRESETS

SLOW = Roofline(device="a slow one", rates={"elementwise": Rate(flops=1e6, bytes=1e6)}, launch=1e-3, wait=0.0)
"""So slow that every task is worth a stream of its own."""
NAMES = [name for name in PRESETS if name != "shallow"]
"""``shallow`` has nothing to put in another order."""
STEPS = pooled(*[st.tuples(st.just(name), dags(dropout=True)) for name in NAMES], each=2)
pytestmark = pytest.mark.filterwarnings("ignore::compiler.WiringWarning")


def prepared(preset: str, network: Network) -> tuple[Lowered, list[Tensor]]:
    """A step with every task by itself, however small, and its inputs."""
    learner = learner_of(network, PRESETS[preset]())
    lowered = taken_apart(learner.program.lowered)
    return lowered, learner._inputs(lowered, *network.data())


@functools.lru_cache(maxsize=KEPT)
def taken_apart(lowered: Lowered) -> Lowered:
    """The same step, none of whose tasks joined another for being small."""
    apart = dataclasses.replace(lowered)
    apart.__dict__["tasks"] = task_graph(lowered.module.graph, small=0.0)
    return apart


def check_same(lowered: Lowered, inputs: Sequence[Tensor], schedule: Schedule) -> None:
    """The list in order, and its streams in threads, against the traced graph itself."""
    results = []
    with torch.no_grad():
        for run in (
            lambda inputs: lowered.module(*inputs),
            Serial().prepare(lowered, schedule),
            Threads().prepare(lowered, schedule),
        ):
            torch.manual_seed(1)
            results.append(run(inputs))
    wanted, *others = results
    for got in others:
        assert all(torch.equal(one, other) for one, other in zip(wanted, got, strict=True))


class Drawn:
    """A schedule put together at random: each task on any stream, at any time when what it must come behind has been launched."""

    def __init__(self, graph: TaskGraph, streams: int, chance: random.Random) -> None:
        self.graph, self.streams, self.chance = graph, streams, chance
        self.actions: list[Action] = []
        self.events = 0
        self.launched: dict[str, tuple[int, int]] = {}  # task to its stream and to the event behind it
        self.started = {0}

    def schedule(self) -> Schedule:
        left = {task.name for task in self.graph.tasks}
        users = {storage: {t.name for t in self.graph.tasks if storage in t.reads | t.writes} for storage in self.graph.sizes}
        frees = [(storage, task.name) for task in self.graph.tasks for storage in sorted(task.makes - self.graph.kept)]
        start = self.record(0)
        while left or frees:
            dead = [free for free in frees if users[free[0]] <= self.launched.keys()]
            ready = sorted(name for name in left if self.launched.keys() >= set(self.graph.dependences[name]))
            if dead and (not ready or self.chance.random() < 0.5):
                frees.remove(free := self.chance.choice(dead))
                self.free(*free, users[free[0]])
            elif ready:
                left.remove(name := self.chance.choice(ready))
                self.launch(name, self.chance.randrange(self.streams), start)
        for stream in sorted(self.started - {0}):
            self.actions.append(Wait(self.record(stream), 0))
        return Schedule(self.streams, tuple(self.actions))

    def record(self, stream: int) -> int:
        self.actions.append(Record(self.events, stream))
        self.events += 1
        return self.events - 1

    def launch(self, name: str, stream: int, start: int) -> None:
        if stream not in self.started:
            self.actions.append(Wait(start, stream))
            self.started.add(stream)
        self.behind(self.graph.dependences[name], stream)
        self.actions.append(Launch(name, stream))
        self.launched[name] = stream, self.record(stream)

    def free(self, storage: str, maker: str, users: set[str]) -> None:
        stream, _ = self.launched[maker]
        self.behind(sorted(users), stream)
        self.actions.append(Free(storage, stream))

    def behind(self, tasks: Sequence[str], stream: int) -> None:
        """Let the stream wait for tasks on others."""
        for task in tasks:
            other, event = self.launched[task]
            if other != stream:
                self.actions.append(Wait(event, stream))


@given(STEPS, st.integers(1, 4), SEEDS)
def test_any_order_that_the_tasks_allow_gives_the_same_numbers(drawn: tuple[str, Network], streams: int, seed: int) -> None:
    lowered, inputs = prepared(*drawn)
    schedule = Drawn(lowered.tasks, streams, random.Random(seed)).schedule()
    verify(lowered.tasks, schedule)
    check_same(lowered, inputs, schedule)


@given(STEPS, st.integers(1, 8))
def test_the_compilers_order_on_any_number_of_streams_gives_the_same_numbers(drawn: tuple[str, Network], streams: int) -> None:
    lowered, inputs = prepared(*drawn)
    check_same(lowered, inputs, scheduled(lowered, streams, SLOW))
