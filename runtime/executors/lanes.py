"""A schedule -> Python: one straight function a lane, each action of the list one or a few of its lines.

A *lane* is what one host thread executes: one stream's actions (``threads``) or the whole list in order (all others).
Values that stay in a lane are local variables; those that cross lanes lie in the shared list ``v``, whose first elements are
the results. Calls go straight to the operators: no modules and no interpreter of ours at run time.
"""

import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, fx

from compiler.effects import effects, elements, picks
from compiler.lowered import Lowered
from compiler.schedule import Free, Launch, Record, Schedule, Wait
from runtime.executors.segments import segment
from runtime.executors.values import Value, Values, local, value_of

PLAIN = {
    *("add", "sub", "mul", "div", "mm", "bmm", "addmm", "t", "relu", "relu_", "tanh", "sigmoid", "neg", "sign", "reshape"),
    *("permute", "unsqueeze", "squeeze", "transpose", "sum", "mean", "exp", "sqrt", "where", "clamp", "eq", "abs", "renorm"),
}  # fmt: skip
"""Operators whose namesake under ``torch`` takes the same arguments and costs half a microsecond less a call."""

Lane = Callable[[Sequence[Tensor], list[Any], Any], None]
"""``lane(inputs, v, hooks)``: run a lane on the program's inputs; results and shared values go to ``v``."""


class Words(Protocol):
    """How an executor says what is not a call: each a list of source lines."""

    def begin(self) -> list[str]:
        """Before anything else in a lane."""
        ...

    def enter(self, stream: int) -> list[str]:
        """Work goes to another stream of the same lane from here on."""
        ...

    def record(self, event: int, stream: int) -> list[str]: ...

    def wait(self, event: int, stream: int) -> list[str]: ...


@dataclass(frozen=True)
class OneAfterAnother:
    """Nothing to say where one thread runs the list in order."""

    def begin(self) -> list[str]:
        return []

    def enter(self, stream: int) -> list[str]:
        return []

    def record(self, event: int, stream: int) -> list[str]:
        return []

    def wait(self, event: int, stream: int) -> list[str]:
        return []


@dataclass
class Lanes:
    """A lowered step under a schedule, as source text and as functions.

    ``streams``: for each lane the streams whose actions it executes. ``watched``: call ``hooks.before(task, stream)`` and
    ``hooks.after(task, stream)`` around every launch, and ``hooks.freed(tensor)`` right before a tensor's memory is given back.
    ``whole``: run launches with no event in between as one segment, which frees its own values behind their last readers.
    """

    lowered: Lowered
    schedule: Schedule
    words: Words
    streams: Sequence[frozenset[int]]
    watched: bool = False
    whole: bool = False
    constants: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        graph = self.lowered.module.graph
        self._tasks = self.lowered.tasks.by_name
        self._values = Values(graph, effects(graph), self._homes(), len(self.streams))
        for node in graph.nodes:
            if node.op == "get_attr":
                self.constants[node.name] = getattr(self.lowered.module, str(node.target))

    @property
    def results(self) -> int:
        """How many of the first elements of ``v`` are results."""
        return len(self._values.results)

    @property
    def size(self) -> int:
        """How long ``v`` must be."""
        return self._values.size

    def functions(self, names: Mapping[str, Any] | None = None) -> list[Lane]:
        """The lanes, compiled; ``names``: globals that the executor's own lines use."""
        made = []
        for number in range(len(self.streams)):
            text = self.text(number)
            scope = {**self.constants, **(names or {})}
            exec(compile(text, f"<lane {number}>", "exec"), scope)
            made.append(scope["lane"])
        return made

    def text(self, lane: int) -> str:
        """One lane's source."""
        body: list[str] = []
        run: list[Launch | Free] = []
        stream = None
        for action in [*self.schedule.actions, None]:
            if action is not None and action.stream not in self.streams[lane]:
                continue
            says: list[str] = []
            if action is not None and action.stream != stream and len(self.streams[lane]) > 1:
                says += self.words.enter(action.stream)
                stream = action.stream
            if isinstance(action, Record | Wait):
                say = self.words.record if isinstance(action, Record) else self.words.wait
                says += say(action.event, action.stream)
            if says or action is None:
                body += [*self._run(run, lane), *says]
                run = []
            if isinstance(action, Launch | Free):
                run.append(action)
        values = self._values
        head = [f"{node.name} = inputs[{place}]" for place, node in enumerate(values.inputs) if values.reads(lane, node)]
        if lane == 0:
            places = {node: place for place, node in enumerate(values.inputs)}
            body += [f"v[{place}] = inputs[{places[node]}]" for place, node in enumerate(values.results) if node in places]
        return "\n    ".join(["def lane(inputs, v, hooks):", *self.words.begin(), *head, *body, "return"]) + "\n"

    def _homes(self) -> dict[fx.Node, int]:
        """The lane on which each node runs."""
        lanes = {stream: number for number, streams in enumerate(self.streams) for stream in streams}
        launches = [action for action in self.schedule.actions if isinstance(action, Launch)]
        return {node: lanes[launch.stream] for launch in launches for node in self._tasks[launch.task].nodes}

    def _run(self, actions: Sequence[Launch | Free], lane: int) -> list[str]:
        """Launches and frees with nothing in between: as one segment where that can be, else call by call."""
        nodes = [node for action in actions if isinstance(action, Launch) for node in self._tasks[action.task].nodes]
        segment = self._segment(nodes) if self.whole and len(nodes) > 1 else None
        if segment is not None:
            lines, inside = segment
            frees = [line for action in actions if isinstance(action, Free) for line in self._free(action, lane, inside)]
            return [*lines, *self._values.let_go(lane, nodes, inside), *frees]
        return [line for action in actions for line in self._lines(action, lane)]

    def _segment(self, nodes: Sequence[fx.Node]) -> tuple[list[str], set[Value]] | None:
        """One call for all nodes, and the values that never leave it."""
        own = set(nodes)
        values = [(node, place) for node in nodes if not picks(node) for place in range(len(elements(node)))]
        takes = list(dict.fromkeys(value_of(s) for node in nodes for s in node.all_input_nodes if value_of(s)[0] not in own))
        gives = [value for value in values if self._values.leaves(value, own)]
        call = segment(nodes, lambda node: local(value_of(node)), [local(v) for v in takes], [local(v) for v in gives])
        if call is None or not gives:
            return None
        name = f"segment_{len(self.constants)}"
        self.constants[name] = call
        spelt = self._values.spelt
        lines = [f"{', '.join(map(spelt, gives))} = {name}({', '.join(map(spelt, takes))})"]
        return [*lines, *(line for value in gives for line in self._values.kept(value))], set(values) - set(gives)

    def _lines(self, action: Launch | Free, lane: int) -> list[str]:
        if isinstance(action, Free):
            return self._free(action, lane)
        nodes = [node for node in self._tasks[action.task].nodes if not picks(node)]
        lines = [line for node in nodes for line in (*self._call(node), *self._values.let_go(lane, [node]))]
        if self.watched:
            return [f"hooks.before({action.task!r}, {action.stream})", *lines, f"hooks.after({action.task!r}, {action.stream})"]
        return lines

    def _call(self, node: fx.Node) -> list[str]:
        call = f"{self._function(node)}({', '.join(self._arguments(node))})"
        values = [(node, place) for place in range(len(elements(node)))]
        several = isinstance(node.meta.get("val"), tuple | list)
        lines = [f"{', '.join(map(self._values.spelt, values))}{',' if several else ''} = {call}"]
        return [*lines, *(line for value in values for line in self._values.kept(value))]

    def _free(self, action: Free, lane: int, inside: Set[Value] = frozenset()) -> list[str]:
        """Let go of everything that lies in a storage, as far as this lane holds it or it is shared; segments do so with their own."""
        values = self._values.held(lane, action.value)
        lines = [f"{self._values.spelt(value)} = None" for value in values if value not in inside]
        if not self.watched:
            return lines
        first = self._values.spelt(values[0])
        return [f"if {first} is not None: hooks.freed({first})", *lines]  # None: a result that was not asked for

    def _function(self, node: fx.Node) -> str:
        target: Any = node.target
        base = target.overloadpacket.__name__ if isinstance(target, torch._ops.OpOverload) else ""
        name = f"op_{str(target).replace('.', '_')}"
        plain = base in PLAIN and not any(argument.is_out for argument in target._schema.arguments)
        self.constants[name] = getattr(torch, base) if plain else getattr(target, "_op", target)
        return name

    def _arguments(self, node: fx.Node) -> list[str]:
        return [self._written(a) for a in node.args] + [f"{key}={self._written(a)}" for key, a in node.kwargs.items()]

    def _written(self, argument: Any) -> str:
        if isinstance(argument, fx.Node):
            return self._values.spelt(value_of(argument))
        if isinstance(argument, list | tuple):
            inside = ", ".join(self._written(part) for part in argument)
            return f"[{inside}]" if isinstance(argument, list) else f"({inside},)" if argument else "()"
        if argument is None or isinstance(argument, bool | int | str) or (isinstance(argument, float) and math.isfinite(argument)):
            return repr(argument)
        name = f"c{len(self.constants)}"
        self.constants[name] = argument
        return name


def one_lane(lowered: Lowered, schedule: Schedule, words: Words | None = None, watched: bool = False, whole: bool = False) -> Lanes:
    """The whole list in order, for one host thread."""
    return Lanes(lowered, schedule, words or OneAfterAnother(), [frozenset(range(schedule.streams))], watched, whole)


def lane_a_stream(lowered: Lowered, schedule: Schedule, words: Words, watched: bool = False) -> Lanes:
    """A lane, and so a host thread, for every stream."""
    return Lanes(lowered, schedule, words, [frozenset([stream]) for stream in range(schedule.streams)], watched, not watched)
