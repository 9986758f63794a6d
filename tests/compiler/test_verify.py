"""Verification, judged by an oracle that writes out happens-before as a graph, and by torch's own sanitizer for CUDA streams."""

import random
import time
from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

import pytest
import torch.cuda._sanitizer as csan
from hypothesis import event, given, settings
from hypothesis import strategies as st
from task_graphs import backpropagation, broken, chain, races, task, timed_graphs

from compiler import ScheduleError, scheduling
from compiler.schedule import Action, Free, Launch, Record, Schedule, Wait
from compiler.scheduling import SPARE, WINDOW, schedule
from compiler.taskgraph import TaskGraph
from compiler.verify import verify

STREAMS = st.sampled_from([2, 2, 3, 3, 4, 5, 8])
BOUNDS = st.sampled_from([(WINDOW, SPARE), (WINDOW, 0.0), (8, 0.0), (1, -0.5), (8, -0.5)])


def accepted(graph: TaskGraph, made: Schedule) -> bool:
    try:
        verify(graph, made)
    except ScheduleError:
        return False
    return True


def scheduled(timed: tuple[TaskGraph, dict[str, float]], streams: int, bounds: tuple[int, float]) -> Schedule:
    """Small bounds make small graphs wait for memory as only large ones would."""
    window, spare = bounds
    with patch.object(scheduling, "WINDOW", window), patch.object(scheduling, "SPARE", spare):
        return schedule(*timed, streams)


def without(made: Schedule, place: int) -> Schedule:
    return replace(made, actions=made.actions[:place] + made.actions[place + 1 :])


# Waits


@settings(deadline=None, max_examples=100)
@given(timed_graphs(16), STREAMS, BOUNDS)
def test_no_wait_is_redundant_and_each_deleted_one_is_caught(
    timed: tuple[TaskGraph, dict[str, float]], streams: int, bounds: tuple[int, float]
) -> None:
    graph, made = timed[0], scheduled(timed, streams, bounds)
    assert not broken(graph, made)
    for place, action in enumerate(made.actions):
        if isinstance(action, Wait):
            less = without(made, place)
            assert broken(graph, less), f"redundant: {action} in {made}"
            assert not accepted(graph, less)


@pytest.mark.parametrize("graph", [chain(12), backpropagation(8)], ids=["chain", "backpropagation"])
@pytest.mark.parametrize("streams", [2, 3])
def test_no_wait_for_memory_is_redundant(graph: TaskGraph, streams: int) -> None:
    made = schedule(graph, dict.fromkeys(graph.by_name, 1.0), streams)
    waits = [place for place, action in enumerate(made.actions) if isinstance(action, Wait)]
    assert [place for place in waits if not accepted(graph, without(made, place))] == waits
    less = [without(made, place) for place in waits]
    assert any([*races(graph, one, 1)] and not [*races(graph, one, 1, frees=False)] for one in less)


# Mutations

Mutation = Callable[[random.Random, list[Action], int], list[Action]]


def place_of(chance: random.Random, actions: list[Action], kind: type | tuple[type, ...]) -> int | None:
    places = [place for place, action in enumerate(actions) if isinstance(action, kind)]
    return chance.choice(places) if places else None


def deleted(kind: type) -> Mutation:
    def mutate(chance: random.Random, actions: list[Action], streams: int) -> list[Action]:
        place = place_of(chance, actions, kind)
        return [action for number, action in enumerate(actions) if number != place]

    return mutate


def doubled(kind: type) -> Mutation:
    def mutate(chance: random.Random, actions: list[Action], streams: int) -> list[Action]:
        place = place_of(chance, actions, kind)
        if place is not None:
            actions.insert(chance.randint(place + 1, len(actions)), actions[place])
        return actions

    return mutate


def moved(kind: type) -> Mutation:
    def mutate(chance: random.Random, actions: list[Action], streams: int) -> list[Action]:
        place = place_of(chance, actions, kind)
        if place is not None:
            actions.insert(chance.randint(max(0, place - 6), place), actions.pop(place))
        return actions

    return mutate


def restreamed(kind: type) -> Mutation:
    def mutate(chance: random.Random, actions: list[Action], streams: int) -> list[Action]:
        place = place_of(chance, actions, kind)
        if place is not None:
            actions[place] = replace(actions[place], stream=chance.randint(-1, streams))
        return actions

    return mutate


def swapped(chance: random.Random, actions: list[Action], streams: int) -> list[Action]:
    if len(actions) > 1:
        place = chance.randrange(len(actions) - 1)
        actions[place], actions[place + 1] = actions[place + 1], actions[place]
    return actions


def swapped_launches(chance: random.Random, actions: list[Action], streams: int) -> list[Action]:
    places = [place for place, action in enumerate(actions) if isinstance(action, Launch)]
    if len(places) > 1:
        first, second = sorted(chance.sample(places, 2))
        actions[first], actions[second] = (
            replace(actions[second], stream=actions[first].stream),
            replace(actions[first], stream=actions[second].stream),
        )
    return actions


def another_event(chance: random.Random, actions: list[Action], streams: int) -> list[Action]:
    place = place_of(chance, actions, (Record, Wait))
    if place is not None:
        actions[place] = replace(actions[place], event=chance.randrange(4))
    return actions


def nothing(chance: random.Random, actions: list[Action], streams: int) -> list[Action]:
    return actions


CHANCE = st.integers(0, 2**32 - 1).map(random.Random)
MUTATIONS: dict[str, Mutation] = {
    "nothing": nothing,
    "missing launch": deleted(Launch),
    "missing record": deleted(Record),
    "missing wait": deleted(Wait),
    "missing free": deleted(Free),
    "double launch": doubled(Launch),
    "double record": doubled(Record),
    "double wait": doubled(Wait),
    "double free": doubled(Free),
    "early launch": moved(Launch),
    "early record": moved(Record),
    "early wait": moved(Wait),
    "early free": moved(Free),
    "launch elsewhere": restreamed(Launch),
    "record elsewhere": restreamed(Record),
    "wait elsewhere": restreamed(Wait),
    "free elsewhere": restreamed(Free),
    "adjacent actions swapped": swapped,
    "launches swapped": swapped_launches,
    "another event": another_event,
}
ALWAYS_WRONG = {
    "missing launch": Launch,
    "missing free": Free,
    "double launch": Launch,
    "double record": Record,
    "double free": Free,
}


@settings(deadline=None, max_examples=500)
@given(
    timed_graphs(10),
    STREAMS,
    st.lists(st.sampled_from(sorted(MUTATIONS)), min_size=1, max_size=2),
    st.randoms(use_true_random=False),
)
def test_mutated_schedules_are_refused_exactly_when_the_oracle_finds_a_fault(
    timed: tuple[TaskGraph, dict[str, float]], streams: int, kinds: list[str], chance: random.Random
) -> None:
    graph, seconds = timed
    made = schedule(graph, seconds, streams)
    actions = list(made.actions)
    for kind in kinds:
        actions = MUTATIONS[kind](chance, actions, streams)
    mutated = Schedule(streams, tuple(actions))
    wrong = broken(graph, mutated)
    event(f"{kinds[0]}: {'refused' if wrong else 'accepted'}")
    assert accepted(graph, mutated) == (not wrong), f"{wrong} in {mutated}"
    if kinds[0] in ALWAYS_WRONG and len(kinds) == 1 and any(isinstance(action, ALWAYS_WRONG[kinds[0]]) for action in made.actions):
        assert wrong


@settings(deadline=None, max_examples=100)
@given(timed_graphs(8), STREAMS, st.sampled_from(sorted(MUTATIONS)), CHANCE)
def test_what_is_accepted_may_run_again_right_behind_itself(
    timed: tuple[TaskGraph, dict[str, float]], streams: int, kind: str, chance: random.Random
) -> None:
    """The proof in ``compiler.verify``, checked by writing out two steps: fork and join order them, frees and makers included."""
    graph, seconds = timed
    actions = MUTATIONS[kind](chance, list(schedule(graph, seconds, streams).actions), streams)
    mutated = Schedule(streams, tuple(actions))
    if accepted(graph, mutated):
        assert not broken(graph, mutated, steps=2)


def test_without_a_join_running_again_would_race() -> None:
    """The two-step oracle can see what the proof rules out: here only step n+1's write of ``x`` meets step n's read of it."""
    graph = TaskGraph((task("a", (), {"x"}), task("b", {"x"})), {"x": 1}, frozenset({"x"}))
    made = Schedule.parse("schedule on 2 streams\n0 launch a\n0 record e0\n1 wait e0\n1 launch b")
    assert [*races(graph, made, 1)] == []
    assert [*races(graph, made, 2)] == ["x: (0, 3) before (1, 0)"]
    with pytest.raises(ScheduleError, match="Stream 1 ends with '1 launch b'"):
        verify(graph, made)


# torch's sanitizer


def sanitized(graph: TaskGraph, made: Schedule) -> list[csan.SynchronizationError]:
    """What torch.cuda._sanitizer reports about the same list.

    It sees accesses of tasks only: a deallocation is no access to it, and it knows neither of forks and joins nor of program
    order, so that an early free, a missing join and conflicting launches in the wrong but synchronized order pass.
    """
    handler = csan.EventHandler()
    pointers = {storage: 1000 + number for number, storage in enumerate(graph.sizes)}
    pointers["random"] = 1
    for stream in range(1, made.streams):
        handler._handle_stream_creation(stream)
    found: list[csan.SynchronizationError] = []
    for action in made.actions:
        if isinstance(action, Record):
            handler._handle_event_creation(action.event)
            handler._handle_event_record(action.event, action.stream)
        elif isinstance(action, Wait):
            handler._handle_event_wait(action.event, action.stream)
        elif isinstance(action, Free):
            handler._handle_memory_deallocation(pointers[action.value])
        else:
            each = graph.by_name[action.task]
            for storage in each.makes:
                handler._handle_memory_allocation(pointers[storage])
            reads = {pointers[storage] for storage in each.reads - each.writes}
            writes = {pointers[storage] for storage in each.writes}
            aliases = {pointers[storage]: [storage] for storage in each.reads | each.writes}
            found += handler._handle_kernel_launch(action.stream, reads, writes, writes, each.name, aliases)
    return found


@settings(deadline=None, max_examples=60)
@given(timed_graphs(14), STREAMS, BOUNDS)
def test_torchs_sanitizer_agrees_where_it_can_see(
    timed: tuple[TaskGraph, dict[str, float]], streams: int, bounds: tuple[int, float]
) -> None:
    graph, made = timed[0], scheduled(timed, streams, bounds)
    assert not sanitized(graph, made)
    for place, action in enumerate(made.actions):
        if isinstance(action, Wait):
            less = without(made, place)
            between_tasks = [*races(graph, less, 1, frees=False)]
            event(f"a wait that {'orders tasks' if between_tasks else 'orders frees, fork or join only'}")
            assert bool(sanitized(graph, less)) == bool(between_tasks)


def test_torchs_sanitizer_sees_a_deleted_wait_and_not_an_early_free() -> None:
    assert not sanitized(PAIR, Schedule.parse(GOOD))
    (found,) = sanitized(PAIR, Schedule.parse(GOOD.replace("1 wait e0\n", "")))
    assert "data race" in str(found)
    early = Schedule.parse(GOOD.replace("0 wait e1\n0 free v", "0 free v\n0 wait e1"))
    assert broken(PAIR, early)
    assert not sanitized(PAIR, early)


# Messages

PAIR = TaskGraph(
    (task("a", {"x"}, (), {"v", "k"}), task("b", {"v"}, {"y"}), task("c", (), {"x"}), task("d", (), {"y"})),
    dict.fromkeys("xyvk", 1),
    frozenset("xyk"),
)
GOOD = """schedule on 2 streams
0 launch a
0 record e0
0 launch c
1 wait e0
1 launch b
1 record e1
0 wait e1
0 free v
0 launch d"""


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        (
            "0 launch a\n0 record e0",
            "0 record e0\n0 launch a",
            "read after write: task 'a' on stream 0 writes 'v', task 'b' on stream 1 reads 'v', and nothing orders them. "
            "Before 'b' let stream 1 wait for an event recorded behind 'a'.",
        ),
        (
            "0 wait e1\n0 free v\n0 launch d",
            "0 launch d\n0 wait e1\n0 free v",
            "write after write: task 'b' on stream 1 writes 'y', task 'd' on stream 0 writes 'y', and nothing orders them. "
            "Before 'd' let stream 0 wait for an event recorded behind 'b'.",
        ),
        (
            "0 launch a\n0 record e0\n0 launch c",
            "0 record e0\n0 launch a\n1 wait e0\n1 launch c",
            "write after read: task 'a' on stream 0 reads 'x', task 'c' on stream 1 writes 'x', and nothing orders them. "
            "Before 'c' let stream 1 wait for an event recorded behind 'a'.",
        ),
        (
            "1 launch b",
            "1 launch b\n1 launch d",
            "Task 'd' is launched twice, the second time by '0 launch d': leave one of them out.",
        ),
        (
            "0 launch a",
            "0 launch c\n0 launch a",
            "write after read: task 'a' on stream 0 reads 'x', task 'c' on stream 0 writes 'x', and the second is launched first. "
            "Launch 'a' first, as in program order.",
        ),
        ("0 launch c", "0 launch nobody", "'0 launch nobody' names no task of the graph: leave it out, or take a task's name."),
        ("0 launch c\n", "", "Task 'c' is never launched: give each one a launch."),
        ("0 launch c\n1 wait e0", "1 wait e0\n1 launch b", "Task 'b' is launched twice, the second time by '1 launch b'"),
        ("0 launch c", "2 launch c", "'2 launch c' names stream 2, but the schedule's streams are 0 to 1."),
        ("on 2 streams", "on 1 stream", "'1 wait e0' names stream 1, but the schedule's streams are 0 to 0."),
        (
            "1 wait e0",
            "1 wait e7",
            "Stream 1 waits for event e7, which nothing above has recorded: put its record before the wait.",
        ),
        (
            "1 record e1",
            "1 record e0",
            "Event e0 is recorded twice, the second time by '1 record e0': give it a number of its own.",
        ),
        (
            "1 wait e0\n",
            "",
            "Stream 1 begins with '1 launch b', which is not ordered after the start of the step on stream 0: "
            "let stream 1 first wait for an event recorded on stream 0.",
        ),
        (
            "0 launch d",
            "0 launch d\n1 wait e0",
            "Stream 1 ends with '1 wait e0', which is not ordered before the end of the step on stream 0: "
            "let stream 0 at its end wait for an event recorded behind it.",
        ),
        (
            "0 wait e1\n0 free v",
            "0 free v\n0 wait e1",
            "free after read: task 'b' on stream 1 reads 'v', stream 0 frees it, and nothing orders them. "
            "Before the free let stream 0 wait for an event recorded behind 'b'.",
        ),
        (
            "1 launch b\n",
            "0 free v\n1 launch b\n",
            "read after free: stream 0 frees 'v', then task 'b' on stream 1 reads 'v'. Put the free behind 'b'.",
        ),
        (
            "0 launch a",
            "0 free v\n0 launch a",
            "'0 free v' frees what task 'a' makes, which nothing above has launched: launch 'a', and put the free behind the last "
            "access.",
        ),
        ("0 free v", "1 free v", "'1 free v' is on another stream than task 'a', which makes 'v': free it on stream 0."),
        ("0 free v", "0 free v\n0 free v", "Storage 'v' is freed twice, the second time by '0 free v': leave one of them out."),
        ("0 free v\n", "", "Storage 'v' is never freed: give each one a free behind its last access."),
        ("0 free v", "0 free k", "'0 free k' frees a storage that the graph keeps beyond the step: leave it out."),
        (
            "0 free v",
            "0 free v\n0 free x",
            "'0 free x' frees what no task makes: leave it out, or take the name of a storage that a task makes.",
        ),
    ],
)
def test_messages(good: str, bad: str, said: str) -> None:
    verify(PAIR, Schedule.parse(GOOD))
    text = GOOD.replace(good, bad, 1)
    assert text != GOOD
    with pytest.raises(ScheduleError) as caught:
        verify(PAIR, Schedule.parse(text))
    assert str(caught.value).startswith(said)


def test_a_free_behind_a_write_on_another_stream_is_refused() -> None:
    graph = TaskGraph((task("a", (), (), {"v"}), task("b", (), {"v"})), {"v": 1})
    text = "schedule on 2 streams\n0 launch a\n0 record e0\n1 wait e0\n1 launch b\n1 record e1\n0 free v\n0 wait e1"
    with pytest.raises(
        ScheduleError, match=r"^free after write: task 'b' on stream 1 writes 'v', stream 0 frees it, and nothing orders"
    ):
        verify(graph, Schedule.parse(text))
    verify(graph, Schedule.parse(text.replace("0 free v\n0 wait e1", "0 wait e1\n0 free v")))


def test_a_read_too_early_is_caught_behind_one_in_time_on_its_stream() -> None:
    graph = TaskGraph((task("a", {"x"}), task("b", (), {"x"}), task("c", {"x"}), task("d", (), {"x"})), {"x": 1}, frozenset({"x"}))
    made = Schedule(1, tuple(Launch(name, 0) for name in "cabd"))
    assert broken(graph, made)
    with pytest.raises(
        ScheduleError, match=r"^read after write: task 'b' on stream 0 writes 'x', task 'c' on stream 0 reads 'x', and the"
    ):
        verify(graph, made)


def test_messages_about_several_things() -> None:
    graph = TaskGraph(tuple(task(name, (), (), {f"{name}{name}"}) for name in "abcd"), {})
    with pytest.raises(ScheduleError, match=r"^Tasks 'a', 'b', 'c' and 1 more are never launched: give each one a launch\.$"):
        verify(graph, Schedule(1, ()))
    with pytest.raises(ScheduleError, match=r"^Storages 'aa', 'bb', 'cc' and 1 more are never freed: give each one a free behind"):
        verify(graph, Schedule(1, tuple(Launch(name, 0) for name in "abcd")))
    with pytest.raises(ScheduleError, match=r"^The schedule has 0 streams: give it 1 to 256\.$"):
        verify(graph, Schedule(0, ()))


def test_verification_of_a_large_graph_takes_little_time() -> None:
    """2,800 accesses of 2,100 storages on 8 streams."""
    graph = backpropagation(233)
    made = schedule(graph, {name: 1.0 + number % 5 for number, name in enumerate(graph.by_name)}, 8)
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        verify(graph, made)
        times.append(time.perf_counter() - begin)
    assert min(times) < 0.2
