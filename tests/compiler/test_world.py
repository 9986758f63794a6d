"""A program for several processes, looked at in one: what its step holds, how it is scheduled, what it refuses and foretells."""

import functools
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from world_cases import cnn, mlp

import wiring
from compiler import (
    CompileError,
    Free,
    InputError,
    Launch,
    Roofline,
    Schedule,
    ScheduleError,
    UpdateProgram,
    World,
    WorldWarning,
    statistics,
)
from compiler import compile as compiled
from compiler.collectives import arrives, launches
from compiler.network import Network, transfers
from compiler.simulation import makespan, simulate
from compiler.taskgraph import COMMUNICATION, Task, TaskGraph
from compiler.verify import verify
from compiler.work import Rate
from runtime import Learner
from runtime.errors import BackendError
from runtime.executors import executor
from wiring import Wiring

WORLD = World(group="never reached", size=2)
SMALL = WORLD.model_copy(update={"bucket_bytes": 256})
SLOW = Network(name="a slow line", bandwidth=1e6, latency=1e-3)
HAND = Roofline(device="by hand", rates={"elementwise": Rate(flops=1e9, bytes=1e9)}, launch=1e-6, wait=1e-6, network=SLOW)


@functools.cache
def program(
    algorithm: Wiring | None = None, world: World | None = SMALL, model: nn.Module | None = None, count: int = 4
) -> UpdateProgram:
    torch.manual_seed(0)
    x = torch.randn(count, 6) if model is None else torch.randn(count, 2, 4, 4)
    return compiled(model or mlp(), algorithm or wiring.kp(), (x, torch.arange(count) % 3), world=world)


def nodes(made: UpdateProgram) -> list[Any]:
    return [node for task in made.lowered.tasks.tasks for node in task.nodes]


# ------------------------------------------------------------------------------------------------ reductions in the step


def test_one_process_sums_nothing() -> None:
    made = program(world=None)
    assert not any(launches(node) or arrives(node) for node in nodes(made))
    assert made.lowered.layout.sums == ()
    assert COMMUNICATION not in made.lowered.tasks.kept


def test_buckets_hold_every_update_once_in_the_order_of_finishing() -> None:
    """Mirrors that learn from forward updates are not sent: they follow the sums."""
    made = program()
    last, middle, first = (f"gradient:{number}" for number in (4, 2, 0))
    assert made.lowered.layout.sums == (
        (f"{last}.weight", f"{last}.bias", f"{middle}.weight"),
        (f"{middle}.bias", f"{first}.weight", f"{first}.bias", "loss"),
        ("discrepancy",),
    )
    assert sum(launches(node) for node in nodes(made)) == 4  # the number of samples first


def test_a_bucket_leaves_as_soon_as_its_last_update_is_there() -> None:
    """The region in front is still to come when the first bucket is launched, and only the end of the step waits for it."""
    order = [task.name for task in program().lowered.tasks.tasks]
    assert order.index("reduce:0") < order.index("transmit:1" if "transmit:1" in order else "update:1")
    assert all(order.index(f"arrive:{number}") > order.index("reduce:2") for number in range(2))


def test_launch_and_wait_are_never_one_task() -> None:
    tasks = program().lowered.tasks.tasks
    for task in tasks:
        launched = {node for node in task.nodes if launches(node)}
        assert not launched & {node.args[0] for node in task.nodes if arrives(node)}
    assert sum(COMMUNICATION in task.writes for task in tasks) >= 3


def test_buckets_do_not_depend_on_the_batch() -> None:
    sums = {program(wiring.rec_lra(), count=count).lowered.layout.sums for count in (1, 3, 64)}
    assert len(sums) == 1


def test_updates_arrive_in_their_bucket_without_a_copy() -> None:
    made = program(wiring.bp(), world=WORLD)
    results = next(node for node in made.lowered.module.graph.nodes if node.op == "output").args[0]
    assert not any(node.target is torch.ops.aten.clone.default for node in results)


# ------------------------------------------------------------------------------------------------ schedules


@pytest.mark.parametrize("streams", [1, 2, 4])
def test_schedules_are_proven(streams: int) -> None:
    made = program(wiring.dkp())
    verify(made.lowered.tasks, made.schedule(streams, HAND))


@pytest.mark.parametrize("streams", [1, 2])
def test_another_order_of_collectives_is_caught(streams: int) -> None:
    """What a rank that launched them so would do: sum its last bucket with the other's first."""
    made = program()
    schedule = made.schedule(streams, HAND)
    actions = list(schedule.actions)
    first, second = (next(n for n, a in enumerate(actions) if isinstance(a, Launch) and a.task == f"reduce:{b}") for b in (0, 1))
    actions[first], actions[second] = (
        Launch(f"reduce:{bucket}", actions[place].stream) for bucket, place in ((1, first), (0, second))
    )
    with pytest.raises(ScheduleError, match="communication"):
        verify(_only_communication(made), Schedule(streams, tuple(a for a in actions if not isinstance(a, Free))))


def _only_communication(made: UpdateProgram) -> Any:
    """The step's tasks, as if collectives were all that they touch."""
    graph = made.lowered.tasks
    tasks = tuple(Task(t.name, frozenset(), t.writes & {COMMUNICATION}, frozenset(), t.nodes) for t in graph.tasks)
    return TaskGraph(tasks, graph.sizes, graph.kept)


def test_work_goes_on_while_a_bucket_travels() -> None:
    """On one stream the step takes less than its tasks and its transfers one behind the other."""
    graph = program().lowered.tasks
    beside = transfers(graph, SLOW, 2)
    seconds = dict.fromkeys(graph.by_name, 1e-3)
    whole = makespan(simulate(graph, program().schedule(1), seconds, 0.0, beside))
    assert sum(beside.seconds.values()) > 6e-3
    assert (
        max(sum(seconds.values()), sum(beside.seconds.values()))
        < whole
        < sum(seconds.values()) + sum(beside.seconds.values()) - 2e-3
    )


# ------------------------------------------------------------------------------------------------ what is refused and warned of


@pytest.mark.parametrize("backend", ["auto", "inductor"])
def test_backends_that_cannot_keep_in_step_say_so(backend: str) -> None:
    learner = Learner(program(), backend=backend)
    with pytest.raises(BackendError, match="other processes of the world"):
        learner.learn(torch.randn(4, 6), torch.arange(4) % 3)
    assert executor("threads")


def test_samples_belong_to_a_world() -> None:
    x, y = torch.randn(4, 6), torch.arange(4) % 3
    with pytest.raises(InputError, match="compile with world="):
        Learner(program(world=None)).learn(x, y, samples=3)
    Learner(program(world=None)).learn(x, y, samples=4)
    with pytest.raises(InputError, match="cannot count for -1"):
        Learner(program()).learn(x, y, samples=-1)


def test_batch_norm_is_warned_of_and_its_statistics_are_averaged() -> None:
    with pytest.warns(WorldWarning, match=r"'1' and 1 more.*convert_sync_batchnorm"):
        made = program(wiring.bp(), WORLD, cnn(nn.BatchNorm2d))
    sent = [name for bucket in made.lowered.layout.sums for name in bucket]
    assert "buffer:1.running_mean" in sent
    assert "buffer:1.num_batches_tracked" not in sent


def test_sync_batch_norm_needs_no_warning_and_sends_its_own_moments() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", WorldWarning)
        made = program(wiring.bp(), WORLD, cnn(nn.SyncBatchNorm))
    assert not any(name.startswith("buffer") for bucket in made.lowered.layout.sums for name in bucket)
    names = [str(node.target) for node in nodes(made) if launches(node)]
    assert sum("all_gather" in name for name in names) == 2  # moments ahead
    assert sum("all_reduce" in name for name in names) == 1 + 2 + 1  # samples, two layers behind, one bucket


def test_errors_that_end_before_a_normalisation_ask_nobody() -> None:
    """Its statistics are only needed to pass an error through, so a region that begins with it launches nothing on the way back."""
    first = nn.Sequential(nn.SyncBatchNorm(2), nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 3))
    names = [str(node.target) for node in nodes(program(wiring.dfa(), WORLD, first)) if launches(node)]
    assert sum("all_gather" in name for name in names) == 1
    assert sum("all_reduce" in name for name in names) == 2


def test_sync_batch_norm_belongs_to_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    strange = cnn(nn.SyncBatchNorm)
    strange[1].process_group = SimpleNamespace(group_name="another")
    with pytest.raises(CompileError, match="SyncBatchNorm '1' belongs to process group 'another'"):
        program(wiring.bp(), WORLD, strange)
    monkeypatch.setattr(statistics, "_several_processes", lambda: True)
    with pytest.raises(CompileError, match="SyncBatchNorm '1' wants the statistics of all processes"):
        program(wiring.bp(), None, cnn(nn.SyncBatchNorm))


class Counting(nn.Module):
    """Counts positive inputs in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += (x > 0).sum()
        return self.linear(x)


def test_counts_of_the_data_are_refused() -> None:
    with pytest.raises(CompileError, match=r"Buffer 'seen'.*no average"):
        compiled(Counting(), wiring.bp(), (torch.randn(4, 6), torch.arange(4) % 3), world=WORLD)


# ------------------------------------------------------------------------------------------------ the cost model


def test_sums_over_a_ring() -> None:
    """By hand: eight processes send an eighth of 8 MB fourteen times."""
    assert SLOW.sum_seconds(8_000_000, 8) == pytest.approx(14 * (1e-3 + 1.0))
    assert SLOW.sum_seconds(8, 1) == 0.0
    assert SLOW.rows_seconds(1000, 3) == pytest.approx(2 * (1e-3 + 1e-3))


def test_speed_up_is_foretold_alike_with_and_without_a_world() -> None:
    line = HAND.model_copy(update={"network": Network(name="a line", bandwidth=5e7, latency=1e-7)})
    alone, together = (program(world=world).scaling((2, 8), line) for world in (None, WORLD))
    assert alone.network == "a line"
    assert list(alone.step_seconds) == [1, 2, 8]
    for processes in (2, 8):
        assert alone.speed_up(processes) == pytest.approx(together.speed_up(processes), rel=0.1)
        assert 0 < alone.speed_up(processes) < processes
    with pytest.raises(CompileError, match="0 processes"):
        program(world=None).scaling((0,), HAND)


@pytest.mark.parametrize(("launch", "bytes_a_second"), [(1e-6, 1e18), (1e-15, 1e9)], ids=["calls", "bytes"])
def test_what_sums_cost_besides_their_way_is_foretold_without_a_world(launch: float, bytes_a_second: float) -> None:
    """Over an endless line only filling and emptying buckets is left: what the world's own step spends on it, to within a half."""
    rates = {"elementwise": Rate(flops=1e9, bytes=bytes_a_second)}
    endless = Network(name="an endless line", bandwidth=1e18, latency=1e-18)
    cost = HAND.model_copy(update={"rates": rates, "launch": launch, "network": endless})
    foretold, real = (program(world=world).scaling((2,), cost).step_seconds for world in (None, WORLD))
    assert foretold[2] - foretold[1] == pytest.approx(real[2] - real[1], rel=0.5)


def test_explain_shows_the_speed_up() -> None:
    text = program(world=None).explain()
    assert "1 sum over gloo on loopback" in text
    assert "samples a second" in text
