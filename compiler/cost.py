"""What a traced step costs: FLOPs by torch's own formulas, and the bytes of activations that live at once."""

import itertools

from torch import Tensor, fx
from torch.utils.flop_counter import flop_registry

from compiler.collectives import arrives
from compiler.effects import effects, elements, is_view
from compiler.reuse import operator
from compiler.schedule import Free, Launch, Schedule
from compiler.taskgraph import TaskGraph


def node_flops(node: fx.Node) -> int:
    """FLOPs of one node: those of matrix products, convolutions and attention, as torch counts them."""
    if node.op != "call_function":
        return 0
    count = flop_registry.get(getattr(operator(node), "overloadpacket", None))  # torch counts none that works in place
    if count is None:
        return 0
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda source: source.meta["val"])
    return int(count(*args, **kwargs, out_val=node.meta["val"]))


def moved_bytes(node: fx.Node) -> int:
    """Bytes of the tensors that a node reads and writes; none for a view or for waiting."""
    if node.op != "call_function" or is_view(node) or arrives(node):
        return 0
    tensors = [value for part in (node, *node.all_input_nodes) for value in elements(part) if isinstance(value, Tensor)]
    return sum(value.nbytes for value in tensors)


def flops(graph: fx.Graph) -> int:
    """FLOPs of one step."""
    return sum(node_flops(node) for node in graph.nodes)


def peak_activation_bytes(graph: fx.Graph, tasks: TaskGraph) -> int:
    """Bytes of values alive at the worst moment of the tasks in their order, each from its making to its last reader.

    Inputs (parameters, batch) and results (updates, loss) are not activations; values that share a storage count once, and
    what an operator needs for itself while it runs is not seen.
    """
    found = effects(graph)
    spans: dict[str, tuple[int, int]] = {}
    order = [found.of[node] for task in tasks.tasks for node in task.nodes if node in found.of]
    for moment, effect in enumerate(order):
        for storage in (effect.reads | effect.writes) - found.kept:
            spans[storage] = (spans.get(storage, (moment,))[0], moment)
    change = [0] * (len(order) + 1)
    for storage, (born, last) in spans.items():
        change[born] += found.sizes[storage]
        change[last + 1] -= found.sizes[storage]
    return max(itertools.accumulate(change))


def peak_held_bytes(tasks: TaskGraph, schedule: Schedule) -> int:
    """The same by a schedule's list: each value from the launch of its task to its free, whatever lies in between.

    On several streams no more than this is alive when the list is run in its order; streams have their own times.
    """
    made = {task.name: sum(tasks.sizes[storage] for storage in task.makes - tasks.kept) for task in tasks.tasks}
    alive = peak = 0
    for action in schedule.actions:
        if isinstance(action, Launch):
            alive += made[action.task]
            peak = max(peak, alive)
        elif isinstance(action, Free):
            alive -= tasks.sizes[action.value]
    return peak
