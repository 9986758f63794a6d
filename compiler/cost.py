"""What a traced step costs: FLOPs by torch's own formulas, and the bytes of activations that live at once."""

from typing import Any

from torch import Tensor, fx
from torch.utils.flop_counter import flop_registry


def node_flops(node: fx.Node) -> int:
    """FLOPs of one node: those of matrix products, convolutions and attention, as torch counts them."""
    if node.op != "call_function":
        return 0
    count = flop_registry.get(getattr(node.target, "overloadpacket", None))
    if count is None:
        return 0
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda source: source.meta["val"])
    return int(count(*args, **kwargs, out_val=node.meta["val"]))


def flops(graph: fx.Graph) -> int:
    """FLOPs of one step."""
    return sum(node_flops(node) for node in graph.nodes)


def peak_activation_bytes(graph: fx.Graph) -> int:
    """Bytes of values alive at the worst moment, each from its making to its last reader.

    Inputs (parameters, batch) and results (updates, loss) are not activations; tensors that share a storage count once.
    """
    position = {node: place for place, node in enumerate(graph.nodes)}
    output = next(node for node in graph.nodes if node.op == "output")
    excluded = {key for node in graph.nodes if node.op in ("placeholder", "get_attr") for key in _storages(node)}
    excluded |= {key for node in output.all_input_nodes for key in _storages(node)}
    born: dict[int, int] = {}
    last: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for node in graph.nodes:
        for key, size in _storages(node).items():
            if key not in excluded:
                born.setdefault(key, position[node])
                sizes[key] = size
                last[key] = max(last.get(key, 0), position[node], *(position[user] for user in node.users))
    change = [0] * (len(position) + 1)
    for key, start in born.items():
        change[start] += sizes[key]
        change[last[key] + 1] -= sizes[key]
    peak = alive = 0
    for step in change:
        alive += step
        peak = max(peak, alive)
    return peak


def _storages(node: fx.Node) -> dict[int, int]:
    """The storages behind a node's value, by address, and their bytes."""
    value: Any = node.meta.get("val")
    tensors = value if isinstance(value, tuple | list) else (value,)
    return {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors if isinstance(t, Tensor)}
