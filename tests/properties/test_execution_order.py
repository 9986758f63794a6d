"""Any order of a step's tasks that its storages allow gives the same numbers, bit for bit: on one stream, on several, in threads."""

import random
from collections.abc import Sequence

import pytest
import torch
from drawing import Network, dags
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from compiler import Roofline, compile, verify
from compiler.lowered import Lowered
from compiler.schedule import Action, Free, Launch, Record, Schedule, Wait
from compiler.taskgraph import TaskGraph
from compiler.tasks import task_graph
from compiler.work import Rate
from runtime import Learner
from runtime.executors.serial import Serial
from runtime.executors.threads import Threads
from wiring import PRESETS

SLOW = Roofline(device="a slow one", rates={"elementwise": Rate(flops=1e6, bytes=1e6)}, launch=1e-3, wait=0.0)
"""So slow that every task is worth a stream of its own."""
NAMES = st.sampled_from([name for name in PRESETS if name != "shallow"])
"""``shallow`` has nothing to put in another order."""
pytestmark = pytest.mark.filterwarnings("ignore::compiler.WiringWarning")


def prepared(network: Network, preset: str) -> tuple[Learner, Lowered, list[Tensor]]:
    """A step with every task by itself, however small, and its inputs."""
    x, y = network.data()
    learner = Learner(compile(network.model(), PRESETS[preset](), (x, y)))
    lowered = learner.program.lowered
    lowered.__dict__["tasks"] = task_graph(lowered.module.graph, small=0.0)
    return learner, lowered, learner._inputs(lowered, x, y)


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


@given(dags(dropout=True), NAMES, st.integers(1, 4), st.integers(0, 999))
def test_any_order_that_the_tasks_allow_gives_the_same_numbers(network: Network, preset: str, streams: int, seed: int) -> None:
    learner, lowered, inputs = prepared(network, preset)
    chance = random.Random(seed)
    for _ in range(3):
        schedule = Drawn(lowered.tasks, streams, chance).schedule()
        verify(learner.program, schedule)
        check_same(lowered, inputs, schedule)


@given(dags(dropout=True), NAMES, st.integers(1, 8))
def test_the_compilers_order_on_any_number_of_streams_gives_the_same_numbers(network: Network, preset: str, streams: int) -> None:
    learner, lowered, inputs = prepared(network, preset)
    check_same(lowered, inputs, learner.program.schedule(streams, SLOW))
