"""List scheduling: tasks placed on streams, with the fewest waits that keep program order and memory flat.

A task goes where it can start earliest, the longest path to the end of the step first. While the list grows, each stream has a
vector clock: for every stream the list position up to which it has waited. A dependence that the clock covers needs no wait;
of several others the latest in the list is waited for first, as its own clock may cover the rest. So no wait is redundant.

A storage is freed on the stream that made it, as soon as that stream's clock covers every access. A stream that is never handed
anything back (forward passes before updates that nobody reads) would free nothing before the end of the step: so where clearly
more is held than on one stream, a stream waits for the oldest storages that nobody needs any more before it launches anything.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from heapq import heappop, heappush

from compiler.errors import ScheduleError
from compiler.network import ALONE, Transfers
from compiler.schedule import MOST_STREAMS, Action, Free, Launch, Record, Schedule, Wait
from compiler.simulation import followers, to_exit
from compiler.taskgraph import Task, TaskGraph

WINDOW = 2
"""A task may be launched if it is less than this times the streams behind the first unlaunched one. Program order is memory order:
without a bound a chain runs ahead of the tasks that would let its storages die; with a small one streams run out of work."""

SPARE = 0.5
"""How much more memory than on one stream may be held, as a share of it, before a stream waits for storages that nobody needs any more
to be free. Less would make it wait for work still under way where tasks take other times than foreseen."""

START = -1
"""The position of the start of the step, before the first action."""


def schedule(
    graph: TaskGraph, seconds: Mapping[str, float], streams: int, wait: float = 0.0, transfers: Transfers = ALONE
) -> Schedule:
    """Place the tasks of ``graph`` on ``streams`` streams.

    ``seconds``: what each task takes, by its name. ``wait``: seconds that a hand-over from one stream to another costs.
    ``transfers``: what is on its way to other processes while tasks run.
    One stream runs the tasks in program order and frees every storage right behind its last access. On several, a side stream
    that is used at all forks from stream 0 and is joined by it at the end; every storage that a task makes and the graph does not
    keep is freed. The same arguments give the same schedule.
    Raises ``ScheduleError`` for less than one stream or more than ``MOST_STREAMS``, or a task without seconds.
    """
    if not 1 <= streams <= MOST_STREAMS:
        raise ScheduleError(f"Cannot schedule on {streams} streams: ask for 1 to {MOST_STREAMS}.")
    emission = _Emission(graph, streams)
    if streams == 1:
        for task in graph.tasks:
            emission.launch(task, 0, [])
    else:
        _place(graph, seconds, wait, emission, transfers)
    return emission.finish()


def _place(graph: TaskGraph, seconds: Mapping[str, float], wait: float, emission: "_Emission", transfers: Transfers) -> None:
    queue = _Queue(graph, seconds, WINDOW * emission.streams, transfers)
    available = [0.0] + [wait] * (emission.streams - 1)  # a side stream begins with a hand-over from stream 0
    launched: dict[str, int] = {}
    ends: dict[int, float] = {}

    def start(stream: int, needs: Iterable[int]) -> float:
        return max((ends[position] + wait for position in needs if not emission.covers(stream, position)), default=0.0)

    for _ in graph.tasks:
        task = queue.take(min(available))
        needs = [launched[name] for name in graph.dependences[task.name]]
        home = emission.actions[max(needs, key=lambda position: (ends[position], -position))].stream if needs else 0
        choices = []
        for stream in range(emission.streams):
            moment = max(available[stream], start(stream, needs), start(stream, emission.overdue(stream)))
            choices.append((moment, stream != home, stream))
        moment, _, stream = min(choices)
        position = launched[task.name] = emission.launch(task, stream, needs)
        arrival = max((ends[launched[name]] + transfers.lag(name, task.name) for name in graph.dependences[task.name]), default=0.0)
        available[stream] = ends[position] = max(moment, arrival) + seconds[task.name]
        queue.launched(task, ends[position])


class _Queue:
    """Tasks whose dependences are launched: those that could start, longest path first, and those that could not yet."""

    def __init__(self, graph: TaskGraph, seconds: Mapping[str, float], window: int, transfers: Transfers) -> None:
        self._tasks = graph.tasks
        self._window = window
        self._transfers = transfers
        self._rest = to_exit(graph, seconds, transfers)
        self._followers = followers(graph)
        self._place = {task.name: place for place, task in enumerate(graph.tasks)}
        self._missing = {task.name: len(graph.dependences[task.name]) for task in graph.tasks}
        self._arrival = dict.fromkeys(self._place, 0.0)
        self._first = 0  # the place of the first unlaunched task
        self._done: set[str] = set()
        self._beyond: list[int] = []  # heaps of places: behind the window,
        self._coming: list[tuple[float, int]] = []  # waiting for the end of a dependence,
        self._ready: list[tuple[float, int]] = []  # and able to start
        for task in graph.tasks:
            if not self._missing[task.name]:
                heappush(self._beyond, self._place[task.name])
        self._open()

    def take(self, now: float) -> Task:
        """The task of the longest path among those that can start at ``now``, or else as soon after it as any."""
        if not self._ready:
            now = max(now, self._coming[0][0])
        while self._coming and self._coming[0][0] <= now:
            place = heappop(self._coming)[1]
            heappush(self._ready, (-self._rest[self._tasks[place].name], place))
        return self._tasks[heappop(self._ready)[1]]

    def launched(self, task: Task, end: float) -> None:
        """``task`` ends at ``end``: the tasks behind it may have come within reach."""
        self._done.add(task.name)
        while self._first < len(self._tasks) and self._tasks[self._first].name in self._done:
            self._first += 1
        for name in self._followers[task.name]:
            self._missing[name] -= 1
            self._arrival[name] = max(self._arrival[name], end + self._transfers.lag(task.name, name))
            if not self._missing[name]:
                heappush(self._beyond, self._place[name])
        self._open()

    def _open(self) -> None:
        while self._beyond and self._beyond[0] < self._first + self._window:
            place = heappop(self._beyond)
            heappush(self._coming, (self._arrival[self._tasks[place].name], place))


@dataclass(frozen=True)
class _Dying:
    """A storage that no later task touches, and the position of each stream's last access."""

    storage: str
    touched: tuple[int, ...]


class _Emission:
    """The list as it grows. Positions in it serve as time: an event is named by the position that it is recorded behind."""

    def __init__(self, graph: TaskGraph, streams: int) -> None:
        self.streams = streams
        self.actions: list[Action] = []
        self._clock = [[START] * streams for _ in range(streams)]
        self._behind: dict[int, list[int]] = {START: [START] * streams}  # the clock behind a position
        self._sizes = graph.sizes
        self._held = 0
        self._owner: dict[str, int] = {}  # the stream that made a storage
        self._touched: dict[str, dict[int, int]] = {}
        self._left: dict[str, int] = {}  # how many tasks are still to touch it
        self._dying: list[list[_Dying]] = [[] for _ in range(streams)]  # by the stream that made it, in the order of last accesses
        dies = {storage for task in graph.tasks for storage in task.makes} - graph.kept
        self._mortal = {task.name: sorted((task.reads | task.writes) & dies) for task in graph.tasks}
        for storages in self._mortal.values():
            for storage in storages:
                self._left[storage] = self._left.get(storage, 0) + 1
        self._most = (1 + SPARE) * self._peak(graph)

    def _peak(self, graph: TaskGraph) -> int:
        """The most bytes that the tasks hold in program order."""
        left, held, peak = dict(self._left), 0, 0
        for task in graph.tasks:
            held += sum(self._sizes[storage] for storage in task.makes & left.keys())
            peak = max(peak, held)
            for storage in self._mortal[task.name]:
                left[storage] -= 1
                held -= 0 if left[storage] else self._sizes[storage]
        return peak

    def covers(self, stream: int, position: int) -> bool:
        """Whether what comes next on ``stream`` is ordered behind ``position``."""
        return self._clock[stream][self.actions[position].stream] >= position

    def overdue(self, stream: int) -> list[int]:
        """What ``stream`` has to wait for before its next launch, so that storages die: the older half of those that can."""
        dying = self._dying[stream]
        if self._held <= self._most:
            return []
        return [position for one in dying[: (len(dying) + 1) // 2] for position in one.touched]

    def launch(self, task: Task, stream: int, needs: Iterable[int]) -> int:
        """Put ``task`` on ``stream`` behind the positions that it needs; its own position."""
        self._wait(stream, {*needs, *self.overdue(stream)})
        if stream and self._clock[stream][stream] == START:
            self._append(Wait(START, stream))
        position = self._append(Launch(task.name, stream))
        self._behind[position] = self._clock[stream].copy()
        self._owner.update(dict.fromkeys(task.makes, stream))
        self._held += sum(self._sizes[storage] for storage in task.makes & self._left.keys())
        for storage in self._mortal[task.name]:
            self._touched.setdefault(storage, {})[stream] = position
            self._left[storage] -= 1
            if not self._left[storage]:
                touched = tuple(self._touched.pop(storage).values())
                self._dying[self._owner[storage]].append(_Dying(storage, touched))
        self._free(stream)
        return position

    def finish(self) -> Schedule:
        """Free what is left, side streams first, each behind waits of its own where it must, and join them into stream 0."""
        for stream in [*range(1, self.streams), 0]:
            if stream == 0:
                self._wait(0, {clock[side] for side, clock in enumerate(self._clock) if clock[side] != START})
            self._wait(stream, {position for one in self._dying[stream] for position in one.touched})
            if self._clock[stream][stream] != START:
                self._behind[self._clock[stream][stream]] = self._clock[stream].copy()
        return Schedule(self.streams, tuple(_with_records(self.actions)))

    def _append(self, action: Action) -> int:
        position = self._clock[action.stream][action.stream] = len(self.actions)
        self.actions.append(action)
        return position

    def _wait(self, stream: int, positions: Iterable[int]) -> None:
        for position in sorted(positions, reverse=True):
            if not self.covers(stream, position):
                self._append(Wait(position, stream))
                self._clock[stream] = [max(pair) for pair in zip(self._clock[stream], self._behind[position], strict=True)]
                self._free(stream)

    def _free(self, stream: int) -> None:
        alive = []
        for one in self._dying[stream]:
            if all(self.covers(stream, position) for position in one.touched):
                self._append(Free(one.storage, stream))
                self._held -= self._sizes[one.storage]
            else:
                alive.append(one)
        self._dying[stream] = alive


def _with_records(actions: Iterable[Action]) -> Iterable[Action]:
    """The actions with an event recorded behind every position that is waited for, numbered in the order of recording."""
    actions = list(actions)
    awaited = {action.event for action in actions if isinstance(action, Wait)}
    numbers: dict[int, int] = {}
    if START in awaited:
        numbers[START] = 0
        yield Record(0, 0)
    for position, action in enumerate(actions):
        yield replace(action, event=numbers[action.event]) if isinstance(action, Wait) else action
        if position in awaited:
            numbers[position] = len(numbers)
            yield Record(numbers[position], action.stream)
