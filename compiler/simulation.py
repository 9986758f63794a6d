"""When tasks would run if each took the seconds that a cost model gives it: of a schedule, and of a graph without one."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from compiler.errors import ScheduleError
from compiler.network import ALONE, Transfers
from compiler.schedule import Launch, Record, Schedule, Wait
from compiler.taskgraph import TaskGraph


@dataclass(frozen=True)
class Span:
    """A task on its stream, from ``start`` to ``end``, in seconds since the start of the step."""

    task: str
    stream: int
    start: float
    end: float


def simulate(
    graph: TaskGraph, schedule: Schedule, seconds: Mapping[str, float], wait: float = 0.0, transfers: Transfers = ALONE
) -> tuple[Span, ...]:
    """When each task runs if every launch takes its ``seconds``, in the order of the launches.

    ``wait``: the seconds that a hand-over costs, from the moment when an event is reached to the other stream's going on; a wait for
    an event of the same stream costs nothing. Records and frees take no time. The schedule has passed ``verify``.
    ``transfers``: what is on its way to other processes meanwhile; a task that waits for it lasts until it has arrived.
    Raises ``ScheduleError`` where a task has no seconds, or less than none.
    """
    checked(graph, seconds)
    clock = [0.0] * schedule.streams
    reached: dict[int, tuple[float, int]] = {}
    spans: list[Span] = []
    line, arrival = 0.0, dict[str, float]()
    for action in schedule.actions:
        now = clock[action.stream]
        if isinstance(action, Launch):
            here = max([now, *(arrival[task] for task in transfers.awaited.get(action.task, ()))])
            spans.append(Span(action.task, action.stream, now, here + seconds[action.task]))
            clock[action.stream] = spans[-1].end
            if action.task in transfers.seconds:
                line = arrival[action.task] = max(line, spans[-1].end) + transfers.seconds[action.task]
        elif isinstance(action, Record):
            reached[action.event] = now, action.stream
        elif isinstance(action, Wait):
            moment, stream = reached[action.event]
            clock[action.stream] = now if stream == action.stream else max(now, moment + wait)
    return tuple(spans)


def makespan(spans: Iterable[Span]) -> float:
    """Seconds from the start of the step to the end of its last task."""
    return max((span.end for span in spans), default=0.0)


def total(seconds: Mapping[str, float]) -> float:
    """Seconds of all tasks one behind the other: the makespan on one stream."""
    return math.fsum(seconds.values())


def critical_path(graph: TaskGraph, seconds: Mapping[str, float]) -> tuple[str, ...]:
    """The tasks of the dependent chain that takes longest, first to last: no number of streams is faster.

    Of equally long chains it is the one whose tasks come first in program order, compared from the first task on.
    """
    rest = to_exit(graph, seconds)
    behind = followers(graph)
    path: list[str] = []
    choice = [task.name for task in graph.tasks if not graph.dependences[task.name]]
    while choice:
        path.append(max(choice, key=rest.__getitem__))
        choice = behind[path[-1]]
    return tuple(path)


def width(graph: TaskGraph, seconds: Mapping[str, float]) -> int:
    """The largest number of tasks that run at one moment if each starts as soon as its dependences are done.

    Streams are without number and hand-overs without cost. A task runs from its start to just before its end, so one that starts
    when another ends does not run with it, and a task of zero seconds never runs. Starting later could make a wider moment.
    """
    checked(graph, seconds)
    end: dict[str, float] = {}
    changes: list[tuple[float, int]] = []
    for task in graph.tasks:
        start = max((end[name] for name in graph.dependences[task.name]), default=0.0)
        end[task.name] = start + seconds[task.name]
        if end[task.name] > start:
            changes += [(start, 1), (end[task.name], -1)]
    running = widest = 0
    for _, change in sorted(changes):  # at equal moments ends come before starts
        running += change
        widest = max(widest, running)
    return widest


def to_exit(graph: TaskGraph, seconds: Mapping[str, float], transfers: Transfers = ALONE) -> dict[str, float]:
    """For each task the seconds of the longest dependent chain that begins with it, its own included."""
    checked(graph, seconds)
    behind = followers(graph)
    rest: dict[str, float] = {}
    for task in reversed(graph.tasks):
        rest[task.name] = seconds[task.name] + max(
            (rest[name] + transfers.lag(task.name, name) for name in behind[task.name]), default=0.0
        )
    return rest


def followers(graph: TaskGraph) -> dict[str, list[str]]:
    """For each task, in program order, those that depend on it directly."""
    found: dict[str, list[str]] = {task.name: [] for task in graph.tasks}
    for task in graph.tasks:
        for name in graph.dependences[task.name]:
            found[name].append(task.name)
    return found


def checked(graph: TaskGraph, seconds: Mapping[str, float]) -> None:
    """Raise ``ScheduleError`` unless every task has its seconds, a finite number from 0."""
    for task in graph.tasks:
        known = seconds.get(task.name)
        if known is None or not 0 <= known < math.inf:
            said = "no seconds" if known is None else f"{known} seconds"
            raise ScheduleError(
                f"Task {task.name!r} has {said}: give every task of the graph a finite number of seconds, 0 or more."
            )
