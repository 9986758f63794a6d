"""How long collectives take between processes, and which of a step's tasks they join."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, fx

from compiler.collectives import arrives, launches
from compiler.taskgraph import TaskGraph
from wiring.record import Positive, Record


class Network(Record):
    """What lies between the processes.

    ``bandwidth``: bytes/s that each sends and receives at the same time. ``latency``: seconds of a message with nothing in it.
    """

    name: str
    bandwidth: Positive
    latency: Positive

    def sum_seconds(self, size: int, processes: int) -> float:
        """A sum of ``size`` bytes over a ring, in which each process sends its part round twice (Patarasuk and Yuan 2009)."""
        return 2 * (processes - 1) * (self.latency + size / processes / self.bandwidth)

    def rows_seconds(self, size: int, processes: int) -> float:
        """``size`` bytes of every process to every other, over a ring."""
        return (processes - 1) * (self.latency + size / self.bandwidth)

    def seconds(self, node: fx.Node, processes: int) -> float:
        """Seconds of the collective that a node of a traced step launches; none for any other node."""
        if not launches(node):
            return 0.0
        value = node.all_input_nodes[0].meta["val"]
        assert isinstance(value, Tensor)
        gathers = "gather" in str(node.target)
        return self.rows_seconds(value.nbytes, processes) if gathers else self.sum_seconds(value.nbytes, processes)


LOOPBACK = Network(name="gloo on loopback", bandwidth=1.49e9, latency=6.6e-5)
"""Two processes of one machine, as ``benchmarks/processes.json`` has them."""


@dataclass(frozen=True)
class Transfers:
    """What is on its way while tasks run, one collective behind the other.

    ``seconds``: by the task that launches them, those of the collectives that other tasks wait for. ``awaited``: by the task that
    waits, the tasks that launched what it waits for.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    awaited: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def lag(self, earlier: str, later: str) -> float:
        """Seconds from the end of one task to the moment when another that depends on it may start."""
        return self.seconds.get(earlier, 0.0) if earlier in self.awaited.get(later, ()) else 0.0


ALONE = Transfers()
"""No process but this one."""


def transfers(graph: TaskGraph, network: Network, processes: int) -> Transfers:
    """The collectives of a step's tasks between ``processes`` processes."""
    home = {node: task.name for task in graph.tasks for node in task.nodes}
    seconds: dict[str, float] = {}
    awaited: dict[str, tuple[str, ...]] = {}
    for node, task in home.items():
        if arrives(node):
            launch = node.all_input_nodes[0]
            source = home[launch]
            if source != task:
                seconds[source] = seconds.get(source, 0.0) + network.seconds(launch, processes)
                awaited[task] = (*awaited.get(task, ()), source)
    return Transfers(seconds, awaited)


def blocking_seconds(graph: TaskGraph, network: Network, processes: int) -> dict[str, float]:
    """For each task the seconds of the collectives that it waits for itself."""
    found: dict[str, float] = {}
    for task in graph.tasks:
        own = {node.all_input_nodes[0] for node in task.nodes if arrives(node)} & set(task.nodes)
        found[task.name] = sum(network.seconds(node, processes) for node in own)
    return found
