"""Whether a schedule keeps every order that its tasks need, found from the list of actions alone, by vector clocks.

Every stream counts its actions and knows, of every other stream, how many are ordered before what it does next. Of a storage only
the last write and each stream's last read since are kept: each of them was checked against what came before, and order is transitive.

Running the list again right behind itself needs no check of its own. Every action of a stream is ordered after the start of the step
on stream 0 (the fork) and before its end there (the join), and stream 0 runs its next start after its last end: so every action of
step n+1, events and memory at the old addresses included, is ordered after every action of step n.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from compiler.errors import ScheduleError
from compiler.schedule import MOST_STREAMS, Action, Free, Launch, Record, Schedule, Wait
from compiler.taskgraph import Task, TaskGraph


def verify(graph: TaskGraph, schedule: Schedule) -> None:
    """Raise ``ScheduleError`` unless running ``schedule``, once or again and again, gives what running the tasks in order gives.

    Every task is launched exactly once. Each two accesses of a storage of which one writes are ordered by streams and events as in
    program order; a free counts as a write on the stream that launched the maker, and every storage that a task makes and the graph
    does not keep is freed exactly once, others never. Each event is recorded once and before it is waited for. The first action
    of a side stream is ordered after the start of stream 0, and the end of stream 0 after every action.

    The error names the two accesses or the action, and the order that is missing with the way to get it.
    """
    clocks = _Clocks(schedule.streams)
    memory = _Memory(graph, clocks)
    for action in schedule.actions:
        clocks.step(action)
        if isinstance(action, Launch):
            memory.launch(action)
        elif isinstance(action, Free):
            memory.free(action)
    memory.all_launched()
    clocks.all_joined()
    memory.all_freed()


class _Clocks:
    """For every stream, how many actions of each stream are ordered before its next one; the start of stream 0 counts as one."""

    def __init__(self, streams: int) -> None:
        if not 1 <= streams <= MOST_STREAMS:
            raise ScheduleError(f"The schedule has {streams} streams: give it 1 to {MOST_STREAMS}.")
        self.of = [[0] * streams for _ in range(streams)]
        self._events: dict[int, list[int]] = {}
        self._last: list[Action | None] = [None] * streams
        self.of[0][0] = 1

    def step(self, action: Action) -> None:
        """Let the action's stream go on by it."""
        stream = action.stream
        if not 0 <= stream < len(self.of):
            raise ScheduleError(f"'{action}' names stream {stream}, but the schedule's streams are 0 to {len(self.of) - 1}.")
        clock = self.of[stream]
        if isinstance(action, Wait):
            if action.event not in self._events:
                raise ScheduleError(
                    f"Stream {stream} waits for event e{action.event}, which nothing above has recorded: put its record before the wait."
                )
            clock[:] = map(max, clock, self._events[action.event])
        if not clock[0]:
            raise ScheduleError(
                f"Stream {stream} begins with '{action}', which is not ordered after the start of the step on stream 0: "
                f"let stream {stream} first wait for an event recorded on stream 0."
            )
        clock[stream] += 1
        self._last[stream] = action
        if isinstance(action, Record):
            if action.event in self._events:
                raise ScheduleError(
                    f"Event e{action.event} is recorded twice, the second time by '{action}': give it a number of its own."
                )
            self._events[action.event] = clock.copy()

    def all_joined(self) -> None:
        for stream, clock in enumerate(self.of):
            if self.of[0][stream] < clock[stream]:
                raise ScheduleError(
                    f"Stream {stream} ends with '{self._last[stream]}', which is not ordered before the end of the step on stream 0: "
                    f"let stream 0 at its end wait for an event recorded behind it."
                )


@dataclass(frozen=True, slots=True)
class _Access:
    """What a stream did to a storage at its ``tick``-th action, in a task's place in program order."""

    storage: str
    task: str
    place: int
    stream: int
    tick: int
    does: str  # "reads" or "writes"

    def __str__(self) -> str:
        return f"task {self.task!r} on stream {self.stream} {self.does} {self.storage!r}"

    @property
    def kind(self) -> str:
        return self.does.removesuffix("s")


@dataclass(slots=True)
class _History:
    """What has to be ordered before the next access of a storage."""

    write: _Access | None = None
    reads: dict[int, _Access] = field(default_factory=dict)  # by stream, the last since the write
    furthest: _Access | None = None  # of the reads since, the last in program order


class _Memory:
    """The accesses of every storage so far."""

    def __init__(self, graph: TaskGraph, clocks: _Clocks) -> None:
        self._graph = graph
        self._clocks = clocks
        self._place = {task.name: place for place, task in enumerate(graph.tasks)}
        self._maker = {storage: task.name for task in graph.tasks for storage in task.makes}
        self._history: dict[str, _History] = {}
        self._launched: dict[str, int] = {}  # task to stream
        self._freed: dict[str, int] = {}  # storage to stream

    def launch(self, action: Launch) -> None:
        if action.task not in self._place:
            raise ScheduleError(f"'{action}' names no task of the graph: leave it out, or take a task's name.")
        if action.task in self._launched:
            raise ScheduleError(f"Task {action.task!r} is launched twice, the second time by '{action}': leave one of them out.")
        self._launched[action.task] = action.stream
        for access in self._accesses(self._graph.by_name[action.task], action.stream):
            if access.storage in self._freed:
                raise ScheduleError(
                    f"{access.kind} after free: stream {self._freed[access.storage]} frees {access.storage!r}, then {access}. "
                    f"Put the free behind {access.task!r}."
                )
            history = self._history.setdefault(access.storage, _History())
            for earlier in self._before(access, history):
                self._need(earlier, access)
            self._note(access, history)

    def free(self, action: Free) -> None:
        value, stream = action.value, action.stream
        if value not in self._maker:
            raise ScheduleError(
                f"'{action}' frees what no task makes: leave it out, or take the name of a storage that a task makes."
            )
        if value in self._graph.kept:
            raise ScheduleError(f"'{action}' frees a storage that the graph keeps beyond the step: leave it out.")
        if value in self._freed:
            raise ScheduleError(f"Storage {value!r} is freed twice, the second time by '{action}': leave one of them out.")
        maker = self._maker[value]
        if maker not in self._launched:
            raise ScheduleError(
                f"'{action}' frees what task {maker!r} makes, which nothing above has launched: "
                f"launch {maker!r}, and put the free behind the last access."
            )
        if stream != self._launched[maker]:
            raise ScheduleError(
                f"'{action}' is on another stream than task {maker!r}, which makes {value!r}: free it on stream {self._launched[maker]}."
            )
        history = self._history[value]
        for access in [*history.reads.values(), *([history.write] if history.write else [])]:
            if not self._ordered(access, stream):
                raise ScheduleError(
                    f"free after {access.kind}: {access}, stream {stream} frees it, and nothing orders them. "
                    f"Before the free let stream {stream} wait for an event recorded behind {access.task!r}."
                )
        self._freed[value] = stream

    def all_launched(self) -> None:
        missing = [task.name for task in self._graph.tasks if task.name not in self._launched]
        if missing:
            raise ScheduleError(f"{_count(missing, 'Task')} never launched: give each one a launch.")

    def all_freed(self) -> None:
        missing = [storage for storage in self._maker if storage not in self._freed and storage not in self._graph.kept]
        if missing:
            raise ScheduleError(f"{_count(missing, 'Storage')} never freed: give each one a free behind its last access.")

    def _accesses(self, task: Task, stream: int) -> Iterator[_Access]:
        place, tick = self._place[task.name], self._clocks.of[stream][stream]
        for storage in sorted(task.reads - task.writes):
            yield _Access(storage, task.name, place, stream, tick, "reads")
        for storage in sorted(task.writes):
            yield _Access(storage, task.name, place, stream, tick, "writes")

    def _before(self, access: _Access, history: _History) -> Iterator[_Access]:
        if access.does == "writes":
            yield from history.reads.values()
            if history.furthest:
                yield history.furthest
        if history.write:
            yield history.write

    def _note(self, access: _Access, history: _History) -> None:
        if access.does == "writes":
            history.write, history.reads, history.furthest = access, {}, None
        else:
            history.reads[access.stream] = access
            if history.furthest is None or access.place > history.furthest.place:
                history.furthest = access

    def _need(self, earlier: _Access, later: _Access) -> None:
        """``earlier`` in the list must come earlier in program order too, and streams and events must order it so."""
        if earlier.place > later.place:
            raise ScheduleError(
                f"{earlier.kind} after {later.kind}: {later}, {earlier}, and the second is launched first. "
                f"Launch {later.task!r} first, as in program order."
            )
        if not self._ordered(earlier, later.stream):
            raise ScheduleError(
                f"{later.kind} after {earlier.kind}: {earlier}, {later}, and nothing orders them. "
                f"Before {later.task!r} let stream {later.stream} wait for an event recorded behind {earlier.task!r}."
            )

    def _ordered(self, access: _Access, stream: int) -> bool:
        return access.tick <= self._clocks.of[stream][access.stream]


def _count(names: list[str], what: str) -> str:
    few = ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{what} {few} is" if len(names) == 1 else f"{what}s {few} are"
