"""A traced step -> its tasks: the ATen graph contracted by the task that each node was traced in.

A region's one backward pass holds both what travels on and what teaches weights. They become two tasks, ``transmit:R`` and
``update:R``, so that the next site need not wait for a weight's gradient. A task that would close a cycle is split, with
``#2`` behind its name; one too small to be worth a launch joins a neighbour that nothing has to wait longer for.
"""

from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush

from torch import fx

from compiler.collectives import arrives, launches
from compiler.cost import moved_bytes, node_flops
from compiler.effects import INPUTS, Effects, effects, picks
from compiler.effects import task as annotation
from compiler.taskgraph import Task, TaskGraph

ENDS = ("gradient", "plasticity", "reduce")
"""Kinds of task that put results out: what only they read does not travel."""

SMALL = 20e-6
"""Seconds (nominal) below which a task joins a neighbour: a hand-over between two threads costs as much."""


def nominal_seconds(node: fx.Node) -> float:
    """What a node would take on a plain processor (1 us a call, 50 GFLOP/s, 10 GB/s): the same on every machine."""
    return 0.0 if picks(node) else 1e-6 + node_flops(node) / 50e9 + moved_bytes(node) / 10e9


def task_graph(graph: fx.Graph, small: float = SMALL) -> TaskGraph:
    """The tasks of a traced step in memory order, with what they read, write and allocate."""
    found = effects(graph)
    nodes = [node for node in graph.nodes if node.op not in (*INPUTS, "output")]
    behind = _dependences(nodes, found)
    labels = _labels(nodes)
    groups = _contract(nodes, behind, labels)
    groups = _merge_small(groups, behind, small)
    ordered = _memory_order(groups, behind, {node: place for place, node in enumerate(nodes)})
    names = _names(ordered, labels)
    return TaskGraph(tuple(_task(name, group, found) for name, group in zip(names, ordered, strict=True)), found.sizes, found.kept)


def _dependences(nodes: Iterable[fx.Node], found: Effects) -> dict[fx.Node, set[fx.Node]]:
    """For each node those that must run before it: writers of what it touches, readers of what it overwrites."""
    writer: dict[str, fx.Node] = {}
    readers: dict[str, set[fx.Node]] = {}
    behind: dict[fx.Node, set[fx.Node]] = {}
    for node in nodes:
        if picks(node):
            behind[node] = {node.args[0]}  # type: ignore[arg-type]
            continue
        effect = found.of[node]
        behind[node] = {writer[storage] for storage in effect.reads | effect.writes if storage in writer}
        behind[node] |= {reader for storage in effect.writes for reader in readers.get(storage, ())}
        for storage in effect.writes:
            writer[storage], readers[storage] = node, set()
        for storage in effect.reads - effect.writes:
            readers.setdefault(storage, set()).add(node)
    return behind


def _labels(nodes: list[fx.Node]) -> dict[fx.Node, str]:
    """The task that each node belongs to: its annotation, but a transmission where an update's node serves another task."""
    labels = {node: (annotation(node) or "rest").replace(" ", "_") for node in nodes}
    travels: set[fx.Node] = set()
    for node in reversed(nodes):
        if any(
            user in travels or (labels.get(user, labels[node]) != labels[node] and _kind(labels[user]) not in ENDS)
            for user in node.users
        ):
            travels.add(node)
    for node in nodes:
        if picks(node):
            labels[node] = labels[node.args[0]]  # type: ignore[index]
        elif node in travels and _kind(labels[node]) == "update":
            labels[node] = f"transmit:{labels[node].partition(':')[2]}"
    return labels


def _kind(label: str) -> str:
    return label.partition(":")[0]


def _contract(nodes: list[fx.Node], behind: Mapping[fx.Node, set[fx.Node]], labels: Mapping[fx.Node, str]) -> list[list[fx.Node]]:
    """Nodes of one label together, in a new group where joining the open one would close a cycle."""
    groups: list[list[fx.Node]] = []
    above: list[int] = []  # for each group, the set of groups that it waits for, as bits
    place: dict[fx.Node, int] = {}
    open_group: dict[str, int] = {}
    for node in nodes:
        direct = {place[source] for source in behind[node]}
        own = place[node.args[0]] if picks(node) else open_group.get(labels[node])  # type: ignore[index]
        waits = 0
        for group in direct - {own}:
            waits |= above[group] | 1 << group
        if own is None or waits >> own & 1:
            own = len(groups)
            groups.append([])
            above.append(0)
            open_group[labels[node]] = own
        groups[own].append(node)
        place[node] = own
        if waits & ~above[own]:
            above[own] |= waits
            for later, set_above in enumerate(above):
                if set_above >> own & 1:
                    above[later] |= above[own]
    return groups


def _edges(groups: list[list[fx.Node]], behind: Mapping[fx.Node, set[fx.Node]]) -> list[set[int]]:
    """For each group, the groups that it waits for."""
    place = {node: number for number, group in enumerate(groups) for node in group}
    return [{place[s] for node in group for s in behind[node]} - {number} for number, group in enumerate(groups)]


def _merge_small(groups: list[list[fx.Node]], behind: Mapping[fx.Node, set[fx.Node]], small: float) -> list[list[fx.Node]]:
    """Join a small group to the only one that it waits for, or to the only one that waits for it; one that nothing ties to any
    other joins the one traced before it. A collective's launch and the wait for it stay apart, so that work fits between them.

    None of these can close a cycle.
    """
    before = _edges(groups, behind)
    after: list[set[int]] = [set() for _ in groups]
    for number, sources in enumerate(before):
        for source in sources:
            after[source].add(number)
    seconds = [sum(map(nominal_seconds, group)) for group in groups]
    merged = [list(group) for group in groups]
    added: dict[int, float] = {}
    apart = _Apart(groups)
    for number in range(len(groups)):
        if seconds[number] >= small:
            continue
        other = _neighbour(number, before, after, added, small - seconds[number])
        if not before[number] and not after[number]:
            other = next((earlier for earlier in range(number - 1, -1, -1) if merged[earlier]), None)
        if other is None or not apart.joined(number, other):
            continue
        added[other] = added.get(other, 0.0) + seconds[number]
        merged[other] += merged[number]
        merged[number] = []
        seconds[other] += seconds[number]
        for one, two in ((before, after), (after, before)):
            for neighbour in one[number]:
                two[neighbour].discard(number)
                if neighbour != other:
                    two[neighbour].add(other)
                    one[other].add(neighbour)
            one[number] = set()
            one[other].discard(number)
    return [group for group in merged if group]


class _Apart:
    """Which groups launch a collective that which others wait for."""

    def __init__(self, groups: list[list[fx.Node]]) -> None:
        self._launched = [{node for node in group if launches(node)} for group in groups]
        self._awaited = [{node.args[0] for node in group if arrives(node)} for group in groups]

    def joined(self, one: int, other: int) -> bool:
        """Let ``one`` be part of ``other`` from here on; False where they must stay apart."""
        if self._launched[one] & self._awaited[other] or self._launched[other] & self._awaited[one]:
            return False
        self._launched[other] |= self._launched[one]
        self._awaited[other] |= self._awaited[one]
        return True


def _neighbour(number: int, before: list[set[int]], after: list[set[int]], added: Mapping[int, float], most: float) -> int | None:
    """The group that a small one joins: what waits for it alone; else what it alone waits for, if nobody else does or not much
    has joined that yet, since whoever else waits for it waits longer."""
    if len(after[number]) == 1:
        return next(iter(after[number]))
    if len(before[number]) == 1:
        (other,) = before[number]
        if len(after[other]) == 1 or added.get(other, 0.0) < most:
            return other
    return None


def _memory_order(
    groups: list[list[fx.Node]], behind: Mapping[fx.Node, set[fx.Node]], place: Mapping[fx.Node, int]
) -> list[list[fx.Node]]:
    """The groups in the order in which they were traced to their ends; within a group, in the order traced."""
    groups = [sorted(group, key=place.__getitem__) for group in groups]
    before = _edges(groups, behind)
    after: dict[int, list[int]] = {}
    for number, sources in enumerate(before):
        for source in sources:
            after.setdefault(source, []).append(number)
    missing = [len(sources) for sources in before]
    ready = [(place[group[-1]], number) for number, group in enumerate(groups) if not missing[number]]
    heapify(ready)
    ordered = []
    while ready:
        _, number = heappop(ready)
        ordered.append(groups[number])
        for user in after.get(number, ()):
            missing[user] -= 1
            if not missing[user]:
                heappush(ready, (place[groups[user][-1]], user))
    assert len(ordered) == len(groups), "the contracted graph has a cycle"
    return ordered


def _names(groups: list[list[fx.Node]], labels: Mapping[fx.Node, str]) -> list[str]:
    """A name for each group, that of its costliest part; with a number where several groups have it."""
    taken: dict[str, int] = {}
    names = []
    for group in groups:
        cost: dict[str, float] = {}
        for node in group:
            cost[labels[node]] = cost.get(labels[node], 0.0) + nominal_seconds(node)
        name = max(cost, key=cost.__getitem__)
        taken[name] = taken.get(name, 0) + 1
        names.append(name if taken[name] == 1 else f"{name}#{taken[name]}")
    return names


def _task(name: str, nodes: list[fx.Node], found: Effects) -> Task:
    parts = [found.of[node] for node in nodes if node in found.of]
    return Task(
        name,
        reads=frozenset().union(*(part.reads for part in parts)),
        writes=frozenset().union(*(part.writes for part in parts)),
        makes=frozenset().union(*(part.makes for part in parts)),
        nodes=tuple(nodes),
    )
