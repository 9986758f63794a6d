"""Task graphs to schedule, drawn at random or as chains of a given depth, and an oracle of what is wrong with a schedule.

The oracle shares nothing with ``compiler.verify``: it writes happens-before out as a graph and looks at every pair of accesses.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import combinations

import networkx as nx
from hypothesis import strategies as st

from compiler.schedule import Free, Launch, Record, Schedule, Wait
from compiler.taskgraph import RANDOM, Task, TaskGraph

Node = tuple[int, int | str]
SECONDS = st.sampled_from([0.0, 0.5, 1.0, 1.0, 2.0, 3.5])


@st.composite
def task_graphs(draw: st.DrawFn, most: int = 9) -> TaskGraph:
    """Up to ``most`` tasks that read, make and overwrite storages; inputs and some results are kept; some tasks draw numbers."""
    inputs = ["input#1", "w->2"][: draw(st.integers(1, 2))]
    known = list(inputs)
    tasks = []
    for place in range(draw(st.integers(1, most))):
        reads = draw(st.sets(st.sampled_from(known), max_size=3))
        writes = draw(st.sets(st.sampled_from(known), max_size=1)) if draw(st.booleans()) else set()
        makes = {f"v{place}.{number}" for number in range(draw(st.integers(0, 2)))}
        if draw(st.integers(0, 5)) == 0:
            writes.add(RANDOM)
        tasks.append(task(f"task:{place}", reads, writes, makes))
        known += sorted(makes)
    kept = {*inputs, RANDOM, *draw(st.sets(st.sampled_from(known), max_size=2))}
    return TaskGraph(tuple(tasks), {storage: draw(st.integers(1, 9)) for storage in known}, frozenset(kept))


@st.composite
def timed_graphs(draw: st.DrawFn, most: int = 9) -> tuple[TaskGraph, dict[str, float]]:
    """A graph and what each of its tasks takes."""
    graph = draw(task_graphs(most))
    return graph, {each.name: draw(SECONDS) for each in graph.tasks}


def task(name: str, reads: Iterable[str] = (), writes: Iterable[str] = (), makes: Iterable[str] = ()) -> Task:
    """``writes``: what is overwritten; what the task makes need not be named twice."""
    return Task(name, frozenset(reads), frozenset({*writes, *makes}), frozenset(makes))


def chain(depth: int) -> TaskGraph:
    """Layers that learn from a signal of their own: each update reads its layer's input and output, and no forward reads an update."""
    tasks, kept = [], {"x0"}
    for layer in range(depth):
        tasks.append(task(f"forward:{layer}", {f"x{layer}"}, (), {f"x{layer + 1}", f"mask{layer}"}))
        tasks.append(task(f"update:{layer}", {f"x{layer}", f"x{layer + 1}", f"mask{layer}"}, (), {f"gradient{layer}"}))
        kept.add(f"gradient{layer}")
    sizes = {storage: 1 if storage in kept else 10 for each in tasks for storage in (*each.reads, *each.writes)}
    return TaskGraph(tuple(tasks), sizes, frozenset(kept))


def backpropagation(depth: int) -> TaskGraph:
    """A forward chain, a loss, and the chain back, whose every link has an update beside it."""
    tasks = [task(f"forward:{layer}", {f"x{layer}"}, (), {f"x{layer + 1}"}) for layer in range(depth)]
    tasks.append(task("loss", {f"x{depth}"}, (), {f"d{depth}"}))
    for layer in reversed(range(depth)):
        tasks.append(task(f"credit:{layer}", {f"d{layer + 1}", f"x{layer}"}, (), {f"d{layer}"}))
        tasks.append(task(f"update:{layer}", {f"d{layer + 1}", f"x{layer}"}, (), {f"gradient{layer}"}))
    kept = frozenset({"x0", *(f"gradient{layer}" for layer in range(depth))})
    return TaskGraph(tuple(tasks), {storage: 1 for each in tasks for storage in (*each.reads, *each.writes)}, kept)


def peak(graph: TaskGraph, schedule: Schedule) -> int:
    """Bytes of made storages that are alive at the worst moment, in the order of the list."""
    live = highest = 0
    for action in schedule.actions:
        if isinstance(action, Launch):
            live += sum(graph.sizes[storage] for storage in graph.by_name[action.task].makes - graph.kept)
        elif isinstance(action, Free):
            live -= graph.sizes[action.value]
        highest = max(highest, live)
    return highest


def broken(graph: TaskGraph, made: Schedule, steps: int = 1) -> list[str]:
    """Everything that is wrong with the schedule, run ``steps`` times: first its form, then each missing order."""
    return malformed(graph, made) or [*unforked_or_unjoined(made, steps), *races(graph, made, steps)]


def malformed(graph: TaskGraph, made: Schedule) -> list[str]:
    wrong = [f"range: {action}" for action in made.actions if not 0 <= action.stream < made.streams]
    launches = {action.task: action.stream for action in made.actions if isinstance(action, Launch)}
    if Counter(action.task for action in made.actions if isinstance(action, Launch)) != Counter(dict.fromkeys(graph.by_name, 1)):
        return [*wrong, "launches"]
    makers = {storage: each.name for each in graph.tasks for storage in each.makes}
    freed = Counter(action.value for action in made.actions if isinstance(action, Free))
    if freed != Counter(dict.fromkeys(makers.keys() - graph.kept, 1)):
        return [*wrong, "frees"]
    for place, action in enumerate(made.actions):
        if isinstance(action, Free) and action.stream != launches[makers[action.value]]:
            wrong.append(f"stream: {action}")
        if isinstance(action, Record) and any(
            isinstance(other, Record) and other.event == action.event for other in made.actions[:place]
        ):
            wrong.append(f"twice: {action}")
        if isinstance(action, Wait) and not any(
            isinstance(other, Record) and other.event == action.event for other in made.actions[:place]
        ):
            wrong.append(f"unrecorded: {action}")
    return wrong


def happens_before(made: Schedule, steps: int) -> nx.DiGraph:
    """All pairs of ordered actions, and of the start and end of stream 0, of all steps: the closure of streams' and events' order."""
    order = nx.DiGraph()
    last: dict[int, Node] = {}

    def put(node: Node, stream: int) -> None:
        order.add_node(node)
        if stream in last:
            order.add_edge(last[stream], node)
        last[stream] = node

    for step in range(steps):
        put((step, "start"), 0)
        recorded: dict[int, Node] = {}
        for place, action in enumerate(made.actions):
            put((step, place), action.stream)
            if isinstance(action, Record):
                recorded[action.event] = step, place
            elif isinstance(action, Wait):
                order.add_edge(recorded[action.event], (step, place))
        put((step, "end"), 0)
    return nx.transitive_closure_dag(order)


def unforked_or_unjoined(made: Schedule, steps: int) -> Iterator[str]:
    order = happens_before(made, steps)
    for step in range(steps):
        for place, action in enumerate(made.actions):
            if not order.has_edge((step, "start"), (step, place)):
                yield f"fork: {action}"
            if not order.has_edge((step, place), (step, "end")):
                yield f"join: {action}"


def races(graph: TaskGraph, made: Schedule, steps: int, frees: bool = True) -> Iterator[str]:
    """Conflicting accesses out of order, pair by pair; with ``frees``, those with frees too, which come behind all tasks."""
    order = happens_before(made, steps)
    place = {each.name: number for number, each in enumerate(graph.tasks)}
    touches: dict[str, list[tuple[tuple[int, int], Node, bool]]] = {}
    for step in range(steps):
        for number, action in enumerate(made.actions):
            if isinstance(action, Launch):
                each = graph.by_name[action.task]
                for storage in each.reads | each.writes:
                    what = (step, place[action.task]), (step, number), storage in each.writes
                    touches.setdefault(storage, []).append(what)
            elif isinstance(action, Free) and frees:
                touches.setdefault(action.value, []).append(((step, len(place)), (step, number), True))
    for storage, accesses in touches.items():
        for (_, first, writes), (_, second, too) in combinations(sorted(accesses), 2):
            if (writes or too) and not order.has_edge(first, second):
                yield f"{storage}: {first} before {second}"
