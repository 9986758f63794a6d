"""How much faster several processes learn than one, foreseen from a step's FLOPs and bytes."""

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor, fx

from compiler.collectives import launches
from compiler.effects import task as annotation
from compiler.errorgraph import ErrorParameter
from compiler.lowered import Lowered
from compiler.network import Transfers, blocking_seconds, transfers
from compiler.report import ScalingReport
from compiler.roofline import ELEMENTWISE, Roofline
from compiler.scheduling import schedule
from compiler.simulation import makespan, simulate
from compiler.taskgraph import COMMUNICATION, Task, TaskGraph
from compiler.world import FIRST, World
from wiring import NoiseMirror

PROCESSES = (2, 4, 8)
"""Numbers of processes that a report predicts for."""

PASSES = 6
"""How often a summed number is read or written on its way: into a bucket, weighted there, and out to the others."""

CALLS = 8, 1.5
"""Operator calls a bucket and an update, most of which only look at memory: in, weighted, launched, waited for, and out again."""


def scaling(lowered: Lowered, synapses: Mapping[str, ErrorParameter], cost: Roofline, processes: Sequence[int]) -> ScalingReport:
    """The step of 1 and of more processes, each with the step's batch and a processor of its own.

    A step that was compiled for one process gets the sums that it would have in a world.

    Arguments:
        synapses: the program's error parameters: those that learn from forward updates need no sum of their own.
    """
    graph = lowered.tasks
    alone = sum(cost.seconds(node) for task in graph.tasks for node in task.nodes if not _of_world(node))
    if lowered.world is None:
        buckets = list(_buckets(_summed(lowered, synapses), World(group="foreseen", size=1).bucket_bytes))
        sizes = [sum(_bytes(node) for node in bucket) for bucket in buckets]
        graph = _with_sums(lowered, buckets)
    else:
        sizes = [_bytes(node.all_input_nodes[0]) for task in graph.tasks for node in task.nodes if launches(node)]
    seconds = {task.name: cost.task_seconds(task.nodes) for task in graph.tasks}
    step = {1: alone}
    for count in processes:
        if lowered.world is None:
            copied = {
                f"reduce:{n}": _copying(len(bucket), size, cost)
                for n, (bucket, size) in enumerate(zip(buckets, sizes, strict=True))
            }
            beside = Transfers(
                {f"reduce:{n}": cost.network.sum_seconds(size, count) for n, size in enumerate(sizes)},
                {f"arrive:{n}": (f"reduce:{n}",) for n in range(len(sizes))},
            )
        else:
            copied, beside = blocking_seconds(graph, cost.network, count), transfers(graph, cost.network, count)
        taken = {name: seconds[name] + copied.get(name, 0.0) for name in seconds}
        step[count] = makespan(simulate(graph, schedule(graph, taken, 1), taken, 0.0, beside))
    return ScalingReport(
        network=cost.network.name,
        sums=len(sizes),
        summed_bytes=sum(sizes),
        step_seconds=step,
        samples_per_second={count: count * lowered.batch / whole if whole else 0.0 for count, whole in step.items()},
    )


def _copying(updates: int, size: int, cost: Roofline) -> float:
    """Seconds that a bucket of so many updates and bytes costs besides its transfer."""
    return cost.launch * (CALLS[0] + CALLS[1] * updates) + PASSES * size / cost.rates[ELEMENTWISE].bytes


def _of_world(node: fx.Node) -> bool:
    return annotation(node).partition(":")[0] in ("reduce", "arrive") or launches(node)


def _summed(lowered: Lowered, synapses: Mapping[str, ErrorParameter]) -> list[fx.Node]:
    """The updates that processes would sum, in the order in which the step finishes them."""
    layout, place = lowered.layout, {node: n for n, task in enumerate(lowered.tasks.tasks) for node in task.nodes}
    derived = {name for name, p in synapses.items() if p.mirrors is not None and not isinstance(p.plasticity, NoiseMirror)}
    wanted = [node for name, node in zip(layout.taught, lowered.results.updates, strict=True) if name not in derived]
    return sorted((node for node in wanted if node in place), key=place.__getitem__)


def _buckets(nodes: Sequence[fx.Node], full: int) -> Iterator[list[fx.Node]]:
    """The updates by the buckets that they would travel in."""
    bucket: list[fx.Node] = []
    most = min(FIRST, full)
    for node in nodes:
        bucket.append(node)
        if sum(map(_bytes, bucket)) >= most:
            yield bucket
            bucket, most = [], full
    if bucket:
        yield bucket


def _with_sums(lowered: Lowered, buckets: Sequence[Sequence[fx.Node]]) -> TaskGraph:
    """The step's tasks, with a task behind the last update of each bucket that launches it, and at the end one that waits for it."""
    graph = lowered.tasks
    home = {node: place for place, task in enumerate(graph.tasks) for node in task.nodes}
    maker = {task: f"done {place}" for place, task in enumerate(graph.tasks)}
    tasks: list[Task] = []
    for place, task in enumerate(graph.tasks):
        tasks.append(Task(task.name, task.reads, task.writes | {maker[task]}, task.makes, task.nodes))
        for number, bucket in enumerate(buckets):
            if max(home[node] for node in bucket) == place:
                reads = frozenset(maker[graph.tasks[home[node]]] for node in bucket)
                tasks.append(Task(f"reduce:{number}", reads, frozenset({COMMUNICATION, f"bucket {number}"})))
    tasks += [Task(f"arrive:{n}", frozenset({f"bucket {n}"}), frozenset({f"bucket {n}"})) for n in range(len(buckets))]
    return TaskGraph(tuple(tasks), {name: 0 for task in tasks for name in task.writes} | dict(graph.sizes), graph.kept)


def _bytes(node: fx.Node) -> int:
    value = node.meta["val"]
    assert isinstance(value, Tensor)
    return value.nbytes
