"""Executors run the schedule's list and nothing else, and give the same numbers whatever the streams' speeds."""

import copy
import gc
import random
import shutil
import threading
import time
import warnings
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from compiler import Roofline, compile, verify
from compiler.lowered import Lowered
from compiler.planning import scheduled
from compiler.reuse import APART, apart
from compiler.schedule import Free, Launch, Record, Schedule, Wait
from compiler.tasks import task_graph
from compiler.work import Rate
from runtime import Learner
from runtime.errors import BackendError
from runtime.executors import Executor, executor
from runtime.executors.auto import Auto
from runtime.executors.included import Included, check_capturable
from runtime.executors.lanes import one_lane
from runtime.executors.serial import Serial
from runtime.executors.streams import CudaWords
from runtime.executors.threads import Threads
from runtime.models import build_model
from wiring import parse_wiring

SLOW = Roofline(device="a slow one", rates={"elementwise": Rate(flops=1e6, bytes=1e6)}, launch=1e-3, wait=0.0)
"""So slow that every task is worth a stream of its own."""

WIRINGS = ["bp", "fa", "kp", "sign_symmetry", "dfa", "dkp", "drtp", "lra_e", "rec_lra", "ekdaa"]


@pytest.fixture(autouse=True)
def one_thread_inside_operators():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def program(wiring: str, model: nn.Module | None = None, x: Tensor | None = None, **options: Any):
    torch.manual_seed(0)
    model = build_model("resnet8:width=8", (3, 8, 8), 10) if model is None else model
    x = torch.randn(6, 3, 8, 8) if x is None else x
    with warnings.catch_warnings(action="ignore"):
        return compile(model, parse_wiring(wiring), (x, torch.arange(len(x)) % 10), **options)


def in_small_pieces(lowered: Lowered) -> Lowered:
    """The same step with every task by itself, however small."""
    lowered.__dict__["tasks"] = task_graph(lowered.module.graph, small=0.0)
    return lowered


def inputs_of(learner: Learner, x: Tensor, y: Tensor) -> tuple[Lowered, list[Tensor]]:
    lowered = learner.program.step(x, y)
    return lowered, learner._inputs(lowered, x, y)


class Trouble:
    """Random delays before every launch; memory that is given back is filled with NaN first."""

    def __init__(self, seed: int, longest: float) -> None:
        self.random, self.longest = random.Random(seed), longest
        self.order: list[tuple[str, int]] = []
        self.poisoned = 0

    def before(self, task: str, stream: int) -> None:
        time.sleep(self.random.random() * self.longest)

    def after(self, task: str, stream: int) -> None:
        self.order.append((task, stream))

    def freed(self, value: Tensor) -> None:
        value.fill_(float("nan") if value.is_floating_point() else True)
        self.poisoned += 1


def equal(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("wiring", WIRINGS)
def test_every_executor_for_cpus_equals_the_traced_graph_bit_for_bit(wiring: str) -> None:
    learner = Learner(program(wiring))
    x, y = torch.randn(6, 3, 8, 8), torch.arange(6)
    lowered, inputs = inputs_of(learner, x, y)
    with torch.no_grad():
        wanted = lowered.module(*inputs)
    for name, streams in (("serial", 1), ("serial", 3), ("threads", 1), ("threads", 2), ("threads", 4)):
        assert equal(wanted, executor(name, streams)(lowered, inputs)), (name, streams)


@pytest.mark.parametrize("wiring", ["dfa", "rec_lra"])
def test_threads_equal_serial_over_200_steps_with_delays_and_poisoned_memory(wiring: str) -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Tanh(), nn.Dropout(0.3), nn.Conv2d(4, 4, 3, padding=1), nn.Tanh(),
        nn.Flatten(), nn.Linear(4 * 36, 16), nn.Tanh(), nn.Linear(16, 10),
    )  # fmt: skip
    compiled = program(wiring, model, torch.randn(6, 2, 6, 6))
    learners = [Learner(compiled), Learner(copy.deepcopy(compiled), backend="threads", streams=3)]
    trouble = Trouble(seed=1, longest=3e-4)
    lowered = in_small_pieces(learners[1].program.lowered)
    threads, schedule = Threads(3), scheduled(lowered, 3, SLOW)
    threads._ready[lowered] = threads.prepare(lowered, schedule, hooks=trouble)
    learners[1]._execute = threads
    optimizers = [torch.optim.SGD(learner.parameters(), lr=0.05, momentum=0.9) for learner in learners]
    batches = [(torch.randn(6, 2, 6, 6), torch.randint(0, 10, (6,))) for _ in range(200)]
    losses: list[list[float]] = [[], []]
    for place, (learner, optimizer) in enumerate(zip(learners, optimizers, strict=True)):
        torch.manual_seed(5)
        for x, y in batches:
            losses[place].append(learner.learn(x, y).loss.item())
            optimizer.step()
            optimizer.zero_grad()
    assert losses[0] == losses[1]
    states = [learner.state_dict() for learner in learners]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    frees = sum(isinstance(action, Free) for action in schedule.actions)
    assert trouble.poisoned == 200 * frees > 0
    assert {stream for _, stream in trouble.order} == {0, 1, 2}, "all streams took part"
    assert len(set(losses[0])) == 200, "steps differ"


def test_poison_is_seen_where_memory_is_freed_too_early() -> None:
    learner = Learner(program("dfa"))
    x, y = torch.randn(6, 3, 8, 8), torch.arange(6)
    lowered, inputs = inputs_of(learner, x, y)
    good = scheduled(lowered, 1)
    wanted = Serial().prepare(lowered, good)(inputs)
    reads = {task.name: task.reads for task in lowered.tasks.tasks}
    frees = [action for action in good.actions if isinstance(action, Free)]
    victim = next(free for free in frees if sum(free.value in read for read in reads.values()) > 1)
    first = next(place for place, a in enumerate(good.actions) if isinstance(a, Launch) and victim.value in reads[a.task])
    actions = [action for action in good.actions if action != victim]
    actions.insert(first + 1, victim)
    early = Schedule(1, tuple(actions))
    lanes = one_lane(lowered, early, watched=True)
    (lane,) = lanes.functions()
    v: list[Tensor | None] = [None] * lanes.size
    try:
        with torch.no_grad():
            lane(inputs, v, Trouble(0, 0.0))
    except (TypeError, RuntimeError):
        return  # a freed value is None
    assert not equal(wanted, v[: lanes.results])  # type: ignore[arg-type]


def test_a_branch_runs_while_another_is_held_up() -> None:
    """Real concurrency: a task on one stream begins while a task of another stream is still held before its launch."""
    learner = Learner(program("dfa"))
    lowered, inputs = inputs_of(learner, torch.randn(6, 3, 8, 8), torch.arange(6))
    in_small_pieces(lowered)
    inside: set[int] = set()
    met = threading.Event()

    class Meet:
        def before(self, task: str, stream: int) -> None:
            inside.add(stream)
            if len(inside) > 1:
                met.set()
            if not met.is_set() and task.startswith("update:"):
                met.wait(timeout=5.0)
            inside.discard(stream)

        def after(self, task: str, stream: int) -> None: ...

        def freed(self, value: Tensor) -> None: ...

    Threads(2).prepare(lowered, scheduled(lowered, 2, SLOW), hooks=Meet())(inputs)
    assert met.is_set()


def test_a_failing_lane_raises_its_own_error_and_the_next_step_works() -> None:
    learner = Learner(program("dfa"))
    x, y = torch.randn(6, 3, 8, 8), torch.arange(6)
    lowered, inputs = inputs_of(learner, x, y)
    threads, wanted = Threads(2), Serial()(lowered, inputs)
    fail = {1: True, 0: False}

    class Fails:
        def before(self, task: str, stream: int) -> None:
            if fail[stream]:
                raise KeyError("by the test")

        def after(self, task: str, stream: int) -> None: ...

        def freed(self, value: Tensor) -> None: ...

    run = threads.prepare(lowered, scheduled(lowered, 2, SLOW), hooks=Fails())
    for broken in ({0: False, 1: True}, {0: True, 1: False}, {0: True, 1: True}):
        fail.update(broken)
        with pytest.raises((KeyError, TypeError, RuntimeError)):
            run(inputs)
        fail.update({0: False, 1: False})
        for _ in range(3):
            assert equal(wanted, run(inputs))


def test_workers_end_with_their_executor() -> None:
    learner = Learner(program("dfa"), backend="threads", streams=3)
    before = set(threading.enumerate())
    learner.learn(torch.randn(6, 3, 8, 8), torch.arange(6))
    twin = copy.deepcopy(learner)
    assert len(set(threading.enumerate()) - before) == 2
    twin.learn(torch.randn(6, 3, 8, 8), torch.arange(6))
    assert twin.backend == "threads on 3 streams"
    own = set(threading.enumerate()) - before
    assert len(own) == 4
    del learner, twin
    gc.collect()
    for worker in own:
        worker.join(timeout=5.0)
    assert not any(worker.is_alive() for worker in own)


class Seen:
    """The streams that took part, with how many threads each has inside operators."""

    def __init__(self) -> None:
        self.threads: set[tuple[int, int]] = set()

    def before(self, task: str, stream: int) -> None:
        self.threads.add((stream, torch.get_num_threads()))

    def after(self, task: str, stream: int) -> None: ...

    def freed(self, value: Tensor) -> None: ...


def test_streams_have_one_thread_each_inside_operators() -> None:
    learner, seen = Learner(program("dfa")), Seen()
    lowered, inputs = inputs_of(learner, torch.randn(6, 3, 8, 8), torch.arange(6))
    torch.set_num_threads(2)
    Threads(2).prepare(in_small_pieces(lowered), scheduled(lowered, 2, SLOW), hooks=seen)(inputs)
    assert seen.threads == {(0, 1), (1, 1)}


@pytest.mark.parametrize(("width", "inside"), [(8, 1), (1024, 2)])
def test_a_step_of_large_tasks_has_all_threads_of_torch_in_each_operator(width: int, inside: int) -> None:
    mlp = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 10))
    x, seen = torch.randn(64, width), Seen()
    lowered, inputs = inputs_of(Learner(program("dfa", mlp, x)), x, torch.arange(64) % 10)
    torch.set_num_threads(2)
    Threads(2).prepare(lowered, hooks=seen)(inputs)
    assert {threads for _, threads in seen.threads} == {inside}


def test_threads_agree_with_serial_to_rounding_where_operators_use_several_threads() -> None:
    """``serial`` splits sums among them, ``threads`` does not."""
    lowered, inputs = inputs_of(Learner(program("dfa")), torch.randn(6, 3, 8, 8), torch.arange(6))
    torch.set_num_threads(2)
    torch.testing.assert_close(Threads(2)(lowered, inputs), Serial()(lowered, inputs), rtol=1e-5, atol=1e-5)


def test_threads_leave_torchs_number_of_threads_alone() -> None:
    learner = Learner(program("dfa"), backend="threads")
    torch.set_num_threads(2)
    learner.learn(torch.randn(6, 3, 8, 8), torch.arange(6))
    assert torch.get_num_threads() == 2


class Fake:
    """CUDA streams and events that note what is asked of them."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def names(self, schedule: Schedule) -> dict[str, object]:
        said = self.said

        class Stream:
            def __init__(self, number: int) -> None:
                self.number = number

            def wait_event(self, event: "Event") -> None:
                said.append(f"{self.number} wait e{event.number}")

        class Event:
            def __init__(self, number: int) -> None:
                self.number = number

            def record(self, stream: Stream) -> None:
                said.append(f"{stream.number} record e{self.number}")

        self.current = 0
        streams = {f"s{number}": Stream(number) for number in range(1, schedule.streams)}
        events = {f"e{a.event}": Event(a.event) for a in schedule.actions if isinstance(a, Record)}
        return {**streams, **events, "current": lambda: Stream(0), "use": self._use}

    def _use(self, stream: object) -> None:
        self.current = stream.number  # type: ignore[attr-defined]

    def before(self, task: str, stream: int) -> None:
        assert self.current == stream, "launched on another stream than the list says"
        self.said.append(f"{stream} launch {task}")

    def after(self, task: str, stream: int) -> None: ...

    def freed(self, value: Tensor) -> None:
        value.fill_(float("nan") if value.is_floating_point() else True)


@pytest.mark.parametrize("wiring", ["bp", "drtp", "rec_lra"])
def test_the_cuda_lane_says_exactly_what_the_list_says(wiring: str) -> None:
    learner = Learner(program(wiring))
    lowered, inputs = inputs_of(learner, torch.randn(6, 3, 8, 8), torch.arange(6))
    in_small_pieces(lowered)
    schedule, fake = scheduled(lowered, 4, SLOW), Fake()
    lanes = one_lane(lowered, schedule, CudaWords(4), watched=True)
    (lane,) = lanes.functions(fake.names(schedule))
    v: list[Tensor | None] = [None] * lanes.size
    with torch.no_grad():
        lane(inputs, v, fake)
    assert fake.said == [str(action) for action in schedule.actions if not isinstance(action, Free)]
    assert any(isinstance(action, Wait) for action in schedule.actions)
    assert equal(Serial()(lowered, inputs), v[: lanes.results])  # type: ignore[arg-type]
    assert all(value is None for value in v[lanes.results :])


@pytest.mark.parametrize("fastest", ["serial", "threads on 2 streams"])
def test_auto_picks_what_took_the_least_time(fastest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(candidates: Sequence[Executor], lowered: Lowered, inputs: Sequence[Tensor]) -> dict[str, float]:
        for candidate in candidates:
            candidate(lowered, inputs)
        return {repr(candidate): 1.0 if repr(candidate) == fastest else 2.0 for candidate in candidates}

    monkeypatch.setattr("runtime.executors.auto.times", told)
    auto = Auto(2)
    lowered, inputs = inputs_of(Learner(program("dfa")), torch.randn(6, 3, 8, 8), torch.arange(6))
    auto(lowered, inputs)
    assert repr(auto).startswith(f"auto: {fastest} (")


def test_auto_says_what_it_picked_and_draws_nothing_from_the_generator() -> None:
    learner = Learner(program("dfa"), backend="auto", streams=2)
    assert learner.backend == "auto (nothing run yet)"
    state = torch.random.get_rng_state()
    learner.learn(torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(6))
    assert torch.equal(state, torch.random.get_rng_state())
    assert learner.backend.startswith(("auto: serial (", "auto: threads on 2 streams ("))
    assert "serial" in learner.backend
    assert "threads on 2 streams" in learner.backend
    assert " ms" in learner.backend


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize(("wiring", "layout"), [("dkp", "preserve"), ("rec_lra", "channels_last")])
def test_inductor_agrees_within_rounding(wiring: str, layout: str) -> None:
    convolutions = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 10))
    model = build_model("mlp:width=16,depth=2", (1, 4, 4), 10) if layout == "preserve" else convolutions
    compiled = program(wiring, model, torch.randn(6, 1, 4, 4), layout=layout)
    x, y = torch.randn(6, 1, 4, 4), torch.arange(6)
    learners = [Learner(compiled), Learner(compiled, backend="inductor")]
    results = []
    for learner in learners:
        lowered, inputs = inputs_of(learner, x, y)
        results.append(learner._execute(lowered, inputs))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def changing(module: fx.GraphModule) -> set[str]:
    """The operators that write into memory that they did not allocate."""
    calls = [node for node in module.graph.nodes if isinstance(node.target, torch._ops.OpOverload)]
    return {node.name for node in calls if node.target._schema.is_mutable}


@pytest.mark.parametrize("wiring", ["bp", "rec_lra", "ekdaa", "dfa"])
def test_a_step_with_every_value_apart_gives_the_same_bits(wiring: str) -> None:
    lowered, inputs = inputs_of(Learner(program(wiring, layout="channels_last")), torch.randn(6, 3, 8, 8), torch.arange(6))
    pure = apart(lowered.module)
    reused = {node.name for node in lowered.module.graph.nodes if APART in node.meta}
    assert reused
    assert reused <= changing(lowered.module)
    assert not reused & changing(pure)
    with torch.no_grad():
        for one, other in zip(pure(*inputs), lowered.module(*inputs), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("told", "line"), [("", "TorchDynamoException"), (" \n", "TorchDynamoException"), ("\nno compiler\nat all", "no compiler")]
)
def test_a_compiler_that_fails_is_told_in_a_line_even_if_it_says_nothing(
    told: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*inputs: Tensor) -> list[Tensor]:
        raise torch._dynamo.exc.TorchDynamoException(told)

    monkeypatch.setattr(torch, "compile", lambda *args, **kwargs: failing)
    mlp = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 10))
    learner = Learner(program("dfa", mlp, torch.randn(6, 3)), backend="inductor")
    with pytest.raises(BackendError, match=rf"^torch\.compile cannot compile this step \({line}\)\. Use backend='serial'\.$"):
        learner.learn(torch.randn(6, 3), torch.arange(6))


@pytest.mark.parametrize(
    ("backend", "streams", "said"),
    [
        ("warp", None, "No backend is called 'warp'. Backends: serial, threads, streams, graph, inductor, auto."),
        ("threads", 0, "A program cannot run on 0 streams. Ask for 1 to 256"),
        ("serial", 100_000, "A program cannot run on 100000 streams. Ask for 1 to 256"),
    ],
)
def test_what_no_executor_can_do_is_refused_at_once(backend: str, streams: int | None, said: str) -> None:
    with pytest.raises(BackendError, match=said.replace(".", r"\.")):
        Learner(program("dfa"), backend=backend, streams=streams)


@pytest.mark.parametrize("backend", ["streams", "graph"])
def test_cuda_executors_refuse_a_program_on_the_cpu(backend: str) -> None:
    learner = Learner(program("dfa"), backend=backend)
    with pytest.raises(BackendError, match=f"Backend '{backend}' runs on CUDA devices, and this program runs on 'cpu'"):
        learner.learn(torch.randn(6, 3, 8, 8), torch.arange(6))


def test_inductor_takes_one_stream() -> None:
    with pytest.raises(BackendError, match="compiles a single stream, not 2"):
        Learner(program("dfa"), backend="inductor", streams=2).learn(torch.randn(6, 3, 8, 8), torch.arange(6))


@pytest.mark.parametrize("backend", ["serial", "threads"])
def test_an_included_optimiser_steps_with_the_learner(backend: str) -> None:
    compiled = program("dkp")
    learners = [Learner(copy.deepcopy(compiled), backend=backend) for _ in range(2)]
    optimizers = [torch.optim.Adam(learner.parameters(), lr=1e-2) for learner in learners]
    learners[1].include(optimizers[1])
    x, y = torch.randn(6, 3, 8, 8), torch.arange(6)
    for _ in range(3):
        learners[0].learn(x, y)
        optimizers[0].step()
        optimizers[0].zero_grad()
        learners[1].learn(x, y)
    states = [learner.state_dict() for learner in learners]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("steps", [0, 2])
def test_warming_up_an_included_optimiser_leaves_no_trace(steps: int) -> None:
    torch.manual_seed(0)
    models = [nn.Linear(3, 2)]
    models.append(copy.deepcopy(models[0]))
    optimizers = [torch.optim.Adam(model.parameters(), lr=0.1) for model in models]

    def step(place: int) -> None:
        optimizers[place].zero_grad()
        models[place](torch.ones(1, 3)).sum().backward()
        optimizers[place].step()

    for _ in range(steps):
        step(0)
        step(1)
    with Included(optimizers[1], list(models[1].parameters())).unchanged():
        step(1)
        step(1)
    step(0)
    step(1)
    assert equal(list(models[0].parameters()), list(models[1].parameters()))


def test_an_optimiser_that_cannot_be_captured_is_refused() -> None:
    optimizer = torch.optim.Adam(nn.Linear(2, 2).parameters())
    with pytest.raises(BackendError, match=r"Adam cannot be captured in a CUDA graph as it is\. Construct it with capturable=True"):
        check_capturable(optimizer)
    check_capturable(torch.optim.Adam(nn.Linear(2, 2).parameters(), capturable=True))
    check_capturable(torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1))


def test_a_step_ignores_the_callers_autocast() -> None:
    learner = Learner(program("dfa"))
    lowered, inputs = inputs_of(learner, torch.randn(6, 3, 8, 8), torch.arange(6))
    wanted = Serial()(lowered, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for name in ("serial", "threads"):
            assert equal(wanted, executor(name)(lowered, inputs))


def test_a_stream_may_wait_for_an_event_twice() -> None:
    learner = Learner(program("dfa"))
    lowered, inputs = inputs_of(learner, torch.randn(6, 3, 8, 8), torch.arange(6))
    in_small_pieces(lowered)
    once = scheduled(lowered, 2, SLOW)
    twice = Schedule(2, tuple(a for action in once.actions for a in ((action,) * (2 if isinstance(action, Wait) else 1))))
    verify(learner.program, twice)
    wanted, run = Serial()(lowered, inputs), Threads(2).prepare(lowered, twice)
    for _ in range(2):
        assert equal(wanted, run(inputs))


def test_steps_from_two_host_threads_take_turns() -> None:
    learner = Learner(program("dfa"))
    lowered, inputs = inputs_of(learner, torch.randn(6, 3, 8, 8), torch.arange(6))
    in_small_pieces(lowered)
    wanted, run = Serial()(lowered, inputs), Threads(2).prepare(lowered, scheduled(lowered, 2, SLOW))
    right: list[bool] = []

    def steps() -> None:
        right.extend(equal(wanted, run(inputs)) for _ in range(30))

    callers = [threading.Thread(target=steps, daemon=True) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
    assert right == [True] * 60


def test_results_that_nobody_asked_an_operator_for_are_not_shown_as_freed() -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 10)
    )
    frozen = nn.Sequential(nn.BatchNorm2d(2), model)
    learner = Learner(program("dfa", frozen, torch.randn(6, 2, 6, 6)))
    lowered, inputs = inputs_of(learner, torch.randn(6, 2, 6, 6), torch.arange(6))
    wanted = Serial()(lowered, inputs)
    assert equal(wanted, Serial().prepare(lowered, hooks=Trouble(0, 0.0))(inputs))
