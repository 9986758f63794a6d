"""Schedules: text both ways, placement, waits and frees, memory that does not grow with depth, and simulated times."""

import itertools
import re
from textwrap import dedent

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_graphs import backpropagation, chain, peak, task, task_graphs, timed_graphs

from compiler import CompileError, ScheduleError
from compiler.schedule import Free, Launch, Record, Schedule, Wait
from compiler.scheduling import SPARE, WINDOW, schedule
from compiler.simulation import Span, critical_path, makespan, simulate, total, width
from compiler.taskgraph import TaskGraph
from compiler.verify import verify

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: text.split() == [text])
STREAMS = st.integers(1, 8)
NUMBERS = st.integers(0, 10**6)
NAMED = st.builds(Launch, WORDS, NUMBERS) | st.builds(Free, WORDS, NUMBERS)
ACTIONS = NAMED | st.builds(Record, NUMBERS, NUMBERS) | st.builds(Wait, NUMBERS, NUMBERS)

SMALL = TaskGraph(
    (
        task("forward:a", {"x"}, (), {"a"}),
        task("forward:b", {"a"}, (), {"b"}),
        task("loss", {"b"}, (), {"d_b", "loss"}),
        task("credit:a", {"d_b", "a"}, (), {"d_a"}),
        task("update:b", {"d_b", "a"}, (), {"g_b"}),
        task("update:a", {"d_a", "x"}, (), {"g_a"}),
    ),
    dict.fromkeys(["x", "a", "b", "d_b", "loss", "d_a", "g_a", "g_b"], 4),
    frozenset({"x", "loss", "g_a", "g_b"}),
)


def ones(graph: TaskGraph) -> dict[str, float]:
    return dict.fromkeys(graph.by_name, 1.0)


# Text


def test_golden_on_two_streams() -> None:
    golden = dedent(
        """\
        schedule on 2 streams
        0 launch forward:a
        0 launch forward:b
        0 launch loss
        0 record e0
        0 free b
        0 launch credit:a
        1 wait e0
        1 launch update:b
        1 record e1
        0 launch update:a
        0 free d_a
        0 wait e1
        0 free a
        0 free d_b"""
    )
    assert str(schedule(SMALL, ones(SMALL), 2)) == golden


def test_golden_on_one_stream() -> None:
    golden = dedent(
        """\
        schedule on 1 stream
        0 launch forward:a
        0 launch forward:b
        0 launch loss
        0 free b
        0 launch credit:a
        0 launch update:b
        0 free a
        0 free d_b
        0 launch update:a
        0 free d_a"""
    )
    assert str(schedule(SMALL, ones(SMALL), 1)) == golden


@settings(deadline=None, max_examples=100)
@given(st.builds(Schedule, st.integers(1, 99), st.lists(ACTIONS, max_size=6).map(tuple)))
def test_text_reads_back(drawn: Schedule) -> None:
    assert Schedule.parse(str(drawn)) == drawn


def test_text_may_be_indented_and_have_blank_lines() -> None:
    made = schedule(SMALL, ones(SMALL), 2)
    assert Schedule.parse("\n\n   " + str(made).replace("\n", "\n\n\t") + "\n ") == made


@pytest.mark.parametrize(
    ("text", "line", "wrong", "right"),
    [
        ("", "Line 1 of a schedule, ''", "not a schedule's first line", "Write 'schedule on 2 streams'"),
        ("\n\nplan on 2 streams", "Line 3 of a schedule, 'plan on 2 streams'", "first line", "'schedule on 2 streams'"),
        ("schedule on two streams", "Line 1", "'two' is no number of streams", "a whole number from 1"),
        ("schedule on 0 streams", "Line 1", "'0' is no number of streams", "a whole number from 1"),
        ("schedule on 1000000 streams", "Line 1", "'1000000' is no number of streams", "a whole number from 1 to 256"),
        (
            "schedule on 1 stream\n0 launch",
            "Line 2 of a schedule, '0 launch'",
            "it has 2 words, not three",
            "'0 launch forward:conv1'",
        ),
        ("schedule on 1 stream\n0", "Line 2", "it has 1 word, not three", "a stream, a verb and what it acts on"),
        ("schedule on 1 stream\nx launch a", "Line 2", "'x' is no stream", "as '0 launch a'"),
        ("schedule on 1 stream\n-1 launch a", "Line 2", "'-1' is no stream", "a whole number from 0"),
        (
            "schedule on 1 stream\n\n0 lunch a",
            "Line 3 of a schedule, '0 lunch a'",
            "'lunch' is no action",
            "launch, record, wait and free",
        ),
        ("schedule on 1 stream\n0 record 3", "Line 2", "'3' is no event", "as '0 record e3'"),
        ("schedule on 1 stream\n0 wait e", "Line 2", "'e' is no event", "as '0 wait e3'"),
    ],
)
def test_unreadable_text_is_refused(text: str, line: str, wrong: str, right: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        Schedule.parse(text)
    assert all(part in str(caught.value) for part in (line, wrong, right)), str(caught.value)
    assert isinstance(caught.value, CompileError)


@pytest.mark.parametrize("name", ["", "a b", "a\n", "a\u2028b"])
@pytest.mark.parametrize("action", [Launch, Free])
def test_names_with_white_space_are_refused(action: type[Launch] | type[Free], name: str) -> None:
    with pytest.raises(ScheduleError, match=re.escape(repr(name)) + ".*white space.*Rename"):
        action(name, 0)


# Scheduling


@settings(deadline=None, max_examples=150)
@given(timed_graphs(14), STREAMS, st.sampled_from([0.0, 0.3, 5.0]))
def test_scheduled_graphs_verify_and_read_back(timed: tuple[TaskGraph, dict[str, float]], streams: int, wait: float) -> None:
    graph, seconds = timed
    made = schedule(graph, seconds, streams, wait)
    verify(graph, made)
    assert made.streams == streams
    assert Schedule.parse(str(made)) == made
    assert schedule(graph, seconds, streams, wait) == made


@settings(deadline=None, max_examples=100)
@given(timed_graphs(14), st.integers(2, 8))
def test_events_are_numbered_as_recorded_and_recorded_behind_what_is_waited_for(
    timed: tuple[TaskGraph, dict[str, float]], streams: int
) -> None:
    made = schedule(*timed, streams)
    records = [(place, action) for place, action in enumerate(made.actions) if isinstance(action, Record)]
    awaited = {action.event for action in made.actions if isinstance(action, Wait)}
    assert [action.event for _, action in records] == list(range(len(records)))
    assert awaited == set(range(len(records)))
    for place, action in records:
        if place == 0:
            assert action.stream == 0
            continue
        before = made.actions[place - 1]
        assert before.stream == action.stream
        rest = [other for other in made.actions[place + 1 :] if other.stream == action.stream]
        assert isinstance(before, Launch) or (isinstance(before, Free) and not rest)


@settings(deadline=None, max_examples=100)
@given(timed_graphs(14), STREAMS)
def test_storages_are_freed_as_early_as_waits_allow(timed: tuple[TaskGraph, dict[str, float]], streams: int) -> None:
    made = schedule(*timed, streams)
    for place, action in enumerate(made.actions):
        if isinstance(action, Free):
            before = [
                number
                for number, other in enumerate(made.actions[:place])
                if other.stream == action.stream and isinstance(other, Launch | Wait)
            ]
            earlier = [*made.actions[: before[-1]], action, *made.actions[before[-1] : place], *made.actions[place + 1 :]]
            with pytest.raises(ScheduleError):
                verify(timed[0], Schedule(streams, tuple(earlier)))


@settings(deadline=None, max_examples=50)
@given(timed_graphs())
def test_one_stream_runs_in_program_order_and_frees_behind_the_last_access(timed: tuple[TaskGraph, dict[str, float]]) -> None:
    graph, seconds = timed
    actions = schedule(graph, seconds, 1).actions
    assert [action.task for action in actions if isinstance(action, Launch)] == [each.name for each in graph.tasks]
    assert not any(isinstance(action, Record | Wait) for action in actions)
    last = {storage: each.name for each in graph.tasks for storage in each.reads | each.writes}
    current = ""
    for action in actions:
        if isinstance(action, Launch):
            current = action.task
        elif isinstance(action, Free):
            assert last[action.value] == current


def test_the_longest_path_goes_first() -> None:
    tasks = (task("short", (), (), {"s"}), task("head", (), (), {"h"}), task("tail", {"h"}, (), {"t"}))
    graph = TaskGraph(tasks, {"s": 1, "h": 1, "t": 1}, frozenset("sht"))
    seconds = {"short": 1.5, "head": 1.0, "tail": 1.0}
    spans = simulate(graph, schedule(graph, seconds, 2), seconds)
    assert spans[0] == Span("head", 0, 0.0, 1.0)
    assert makespan(spans) == 2.0


def test_a_dear_hand_over_keeps_work_on_one_stream_and_unused_streams_have_no_actions() -> None:
    graph = backpropagation(5)
    for wait, used in ((0.1, {0, 1}), (100.0, {0})):
        assert {action.stream for action in schedule(graph, ones(graph), 8, wait).actions} == used


def test_a_dear_hand_over_keeps_followers_on_the_stream_of_their_dependence() -> None:
    graph = TaskGraph((task("a", (), (), {"v"}), task("b"), task("c", {"v"}), task("d", {"v"})), {"v": 1}, frozenset("v"))
    seconds = {"a": 10.0, "b": 5.0, "c": 1.0, "d": 1.0}
    for wait, streams in ((0.0, [0, 1, 0, 1]), (3.0, [0, 1, 0, 0])):
        spans = {span.task: span.stream for span in simulate(graph, schedule(graph, seconds, 2, wait), seconds, wait)}
        assert [spans[name] for name in "abcd"] == streams


def test_a_side_stream_without_dependences_forks_from_the_start() -> None:
    graph = TaskGraph((task("a"), task("b")), {})
    expected = "schedule on 2 streams\n0 record e0\n0 launch a\n1 wait e0\n1 launch b\n1 record e1\n0 wait e1"
    assert str(schedule(graph, ones(graph), 2)) == expected


def test_no_task_is_launched_a_window_ahead_of_an_earlier_one() -> None:
    graph = chain(200)
    seconds = {name: 9.0 if name.startswith("update") else 1.0 for name in graph.by_name}
    place = {each.name: number for number, each in enumerate(graph.tasks)}
    for streams in (2, 3):
        unlaunched, ahead = set(place.values()), 0
        for action in schedule(graph, seconds, streams).actions:
            if isinstance(action, Launch):
                ahead = max(ahead, place[action.task] - min(unlaunched))
                unlaunched.remove(place[action.task])
        assert WINDOW * streams // 2 < ahead < WINDOW * streams


@pytest.mark.parametrize("streams", [1, 2, 4])
@pytest.mark.parametrize("slow", [1.0, 2.5])
def test_memory_of_a_chain_that_learns_on_the_way_does_not_grow_with_depth(streams: int, slow: float) -> None:
    peaks = []
    for depth in (20, 200):
        graph = chain(depth)
        seconds = {name: slow if name.startswith("update") else 1.0 for name in graph.by_name}
        peaks.append(peak(graph, schedule(graph, seconds, streams)))
    assert peaks[1] <= peaks[0]
    assert peaks[1] <= 30 * (1 + SPARE * (streams > 1)) + 20 * WINDOW * streams * (streams > 1)


def test_memory_of_a_backpropagated_chain_is_near_that_of_one_stream() -> None:
    graph = backpropagation(100)
    alone = peak(graph, schedule(graph, ones(graph), 1))
    assert alone <= peak(graph, schedule(graph, ones(graph), 2)) <= alone * (1 + SPARE) + WINDOW


def test_large_graphs_are_scheduled_and_proven() -> None:
    layers = 500
    graph = backpropagation(layers)
    assert len(graph.tasks) > 3 * layers
    verify(graph, schedule(graph, {name: 1 + number % 7 for number, name in enumerate(graph.by_name)}, 8))


def test_refused_arguments() -> None:
    with pytest.raises(ScheduleError, match="Cannot schedule on 0 streams: ask for 1 to 256"):
        schedule(SMALL, ones(SMALL), 0)
    with pytest.raises(ScheduleError, match="Cannot schedule on 257 streams: ask for 1 to 256"):
        schedule(SMALL, ones(SMALL), 257)
    for wrong, said in ((-1.0, r"-1\.0 seconds"), (float("nan"), "nan seconds"), (float("inf"), "inf seconds")):
        with pytest.raises(ScheduleError, match=f"Task 'loss' has {said}: give every task"):
            schedule(SMALL, {**ones(SMALL), "loss": wrong}, 2)
    with pytest.raises(ScheduleError, match="Task 'forward:a' has no seconds: give every task"):
        simulate(SMALL, schedule(SMALL, ones(SMALL), 1), {})


# Simulation


def test_two_streams_take_half_the_time_of_one() -> None:
    graph = TaskGraph(tuple(task(f"t{number}") for number in range(10)), {})
    times = [makespan(simulate(graph, schedule(graph, ones(graph), streams), ones(graph))) for streams in (1, 2, 5)]
    assert times == [10.0, 5.0, 2.0]


def test_simulated_times_by_hand() -> None:
    text = "schedule on 2 streams\n0 launch a\n0 record e0\n0 wait e0\n0 launch b\n1 wait e0\n1 launch c\n1 record e1\n0 wait e1\n0 launch d"
    graph = TaskGraph(tuple(map(task, "abcd")), {})
    spans = simulate(graph, Schedule.parse(text), {"a": 1.0, "b": 2.0, "c": 4.0, "d": 8.0}, wait=0.5)
    assert spans == (Span("a", 0, 0.0, 1.0), Span("b", 0, 1.0, 3.0), Span("c", 1, 1.5, 5.5), Span("d", 0, 6.0, 14.0))
    assert makespan(spans) == 14.0
    assert makespan(()) == 0.0
    assert total({"a": 1.0, "b": 2.0}) == 3.0


@settings(deadline=None, max_examples=100)
@given(timed_graphs(14), STREAMS)
def test_makespan_lies_between_the_critical_path_and_the_sum(timed: tuple[TaskGraph, dict[str, float]], streams: int) -> None:
    graph, seconds = timed
    spans = simulate(graph, schedule(graph, seconds, streams), seconds)
    assert sorted(span.task for span in spans) == sorted(graph.by_name)
    shortest = total({name: seconds[name] for name in critical_path(graph, seconds)})
    assert shortest - 1e-9 <= makespan(spans) <= total(seconds) + 1e-9
    ends = {span.task: span.end for span in spans}
    for span in spans:
        assert all(ends[name] <= span.start for name in graph.dependences[span.task])
    if streams == 1:
        assert makespan(spans) == pytest.approx(total(seconds))


@settings(deadline=None, max_examples=100)
@given(timed_graphs(14))
def test_critical_path_is_the_longest_of_all_paths(timed: tuple[TaskGraph, dict[str, float]]) -> None:
    graph, seconds = timed
    arrows = nx.DiGraph([(name, each.name) for each in graph.tasks for name in graph.dependences[each.name]])
    arrows.add_nodes_from(graph.by_name)
    for begin, end in arrows.edges:
        arrows.edges[begin, end]["seconds"] = seconds[end]
    for name in list(arrows):
        arrows.add_edge("source", name, seconds=seconds[name])
    path = critical_path(graph, seconds)
    assert nx.is_path(arrows, path)
    assert total({name: seconds[name] for name in path}) == nx.dag_longest_path_length(arrows, weight="seconds")


@settings(deadline=None, max_examples=100)
@given(timed_graphs(14))
def test_width_counts_the_tasks_of_the_widest_moment(timed: tuple[TaskGraph, dict[str, float]]) -> None:
    graph, seconds = timed
    starts: dict[str, float] = {}
    for each in graph.tasks:
        starts[each.name] = max((starts[name] + seconds[name] for name in graph.dependences[each.name]), default=0.0)
    running = [sum(starts[name] <= moment < starts[name] + seconds[name] for name in starts) for moment in starts.values()]
    assert width(graph, seconds) == max(running)


def test_width_and_critical_path_by_hand() -> None:
    assert width(SMALL, ones(SMALL)) == 2
    assert critical_path(SMALL, ones(SMALL)) == ("forward:a", "forward:b", "loss", "credit:a", "update:a")
    assert critical_path(TaskGraph((), {}), {}) == ()
    assert width(TaskGraph((), {}), {}) == 0


@settings(deadline=None, max_examples=50)
@given(task_graphs(14))
def test_drawn_graphs_hold_what_schedules_must_respect(graph: TaskGraph) -> None:
    """The strategy itself: storages are made once and before they are touched, and only known ones are kept."""
    made = list(itertools.chain.from_iterable(each.makes for each in graph.tasks))
    assert len(made) == len(set(made))
    known = graph.kept - set(made) | {"input#1"}
    for each in graph.tasks:
        assert each.reads <= known
        known |= each.makes
        assert each.writes <= known
