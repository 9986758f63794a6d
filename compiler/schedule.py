"""A schedule: the linear list of actions on streams that executors run and verification checks, as records and as text.

Each stream runs its own actions in the order of the list; an event orders what was put on a stream before its record before
what another stream does after its wait. The text holds one action a line, the stream's number first:

    schedule on 2 streams
    0 launch forward:conv1
    0 record e0
    1 wait e0
    1 launch update:conv1
    1 free relu_2
"""

import re
from dataclasses import dataclass

from compiler.errors import ScheduleError

MOST_STREAMS = 256
"""How many streams a schedule may have: more than any device runs at a time, and few enough for clocks that take its square."""


@dataclass(frozen=True)
class Launch:
    """Run a task on a stream."""

    task: str
    stream: int

    def __post_init__(self) -> None:
        _refuse_white_space(self.task)

    def __str__(self) -> str:
        return f"{self.stream} launch {self.task}"


@dataclass(frozen=True)
class Record:
    """Record an event: it is reached once all that was put on the stream so far is done."""

    event: int
    stream: int

    def __str__(self) -> str:
        return f"{self.stream} record e{self.event}"


@dataclass(frozen=True)
class Wait:
    """Let a stream do nothing further before an event is reached."""

    event: int
    stream: int

    def __str__(self) -> str:
        return f"{self.stream} wait e{self.event}"


@dataclass(frozen=True)
class Free:
    """Give a storage's memory back to the stream that allocated it."""

    value: str
    stream: int

    def __post_init__(self) -> None:
        _refuse_white_space(self.value)

    def __str__(self) -> str:
        return f"{self.stream} free {self.value}"


Action = Launch | Record | Wait | Free


@dataclass(frozen=True)
class Schedule:
    """Actions on ``streams`` streams, numbered from 0, the main one. ``parse`` undoes ``str``."""

    streams: int
    actions: tuple[Action, ...]

    def __str__(self) -> str:
        head = f"schedule on {self.streams} stream{'' if self.streams == 1 else 's'}"
        return "\n".join([head, *map(str, self.actions)])

    @staticmethod
    def parse(text: str) -> "Schedule":
        """Read what ``str`` wrote; blank lines and indentation may be added.

        Raises ``ScheduleError``, naming the line, what is wrong with it and what would be right.
        """
        lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        number, head = lines[0] if lines else (1, "")
        words = head.split()
        if words[:2] != ["schedule", "on"] or len(words) != 4 or words[3] not in ("stream", "streams"):
            raise _unreadable(number, head, "it is not a schedule's first line", "'schedule on 2 streams'")
        if not re.fullmatch("[0-9]{1,9}", words[2]) or not 1 <= int(words[2]) <= MOST_STREAMS:
            right = f"a whole number from 1 to {MOST_STREAMS}, as 'schedule on 2 streams'"
            raise _unreadable(number, head, f"{words[2]!r} is no number of streams", right)
        return Schedule(int(words[2]), tuple(_action(number, line) for number, line in lines[1:]))


def _action(number: int, line: str) -> Action:
    words = line.split()
    if len(words) != 3:
        wrong = f"it has {len(words)} word{'' if len(words) == 1 else 's'}, not three"
        raise _unreadable(number, line, wrong, "a stream, a verb and what it acts on, as '0 launch forward:conv1'")
    stream, verb, what = words
    if not re.fullmatch("[0-9]+", stream):
        raise _unreadable(number, line, f"{stream!r} is no stream", f"a whole number from 0, as '0 {verb} {what}'")
    if verb == "launch":
        return Launch(what, int(stream))
    if verb == "free":
        return Free(what, int(stream))
    if verb not in ("record", "wait"):
        raise _unreadable(number, line, f"{verb!r} is no action", "one of launch, record, wait and free")
    if not re.fullmatch("e[0-9]+", what):
        raise _unreadable(number, line, f"{what!r} is no event", f"an e and a whole number, as '{stream} {verb} e3'")
    return (Record if verb == "record" else Wait)(int(what[1:]), int(stream))


def _unreadable(number: int, line: str, wrong: str, right: str) -> ScheduleError:
    return ScheduleError(f"Line {number} of a schedule, {line.strip()!r}: {wrong}. Write {right}.")


def _refuse_white_space(name: str) -> None:
    if name.split() != [name]:
        raise ScheduleError(
            f"A schedule cannot hold the name {name!r}: it is empty or has white space in it. Rename the task or storage."
        )
