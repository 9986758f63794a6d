"""What flows where in a captured graph: which nodes carry data, which carry a gradient, and what a tensor's axes mean."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from compiler.capture import Capture

NO_GRADIENT = {
    "detach",
    "argmax",
    "argmin",
    "argsort",
    "bernoulli",
    "rand_like",
    "randn_like",
    "zeros_like",
    "ones_like",
    "full_like",
}
CHANNELS_FIRST = {
    *("conv1d", "conv2d", "conv3d", "convolution", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "group_norm"),
    *("_native_batch_norm_legit_functional", "_native_batch_norm_legit_no_training", "batch_norm", "native_batch_norm"),
    *("instance_norm", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "native_group_norm"),
}
CHANNELS_LAST = {"linear", "addmm", "mm", "layer_norm", "native_layer_norm", "embedding"}


def op_name(node: fx.Node) -> str:
    """The operator's base name: ``relu`` for ``aten.relu.default`` and for ``aten.relu_.default``."""
    target: Any = node.target
    name = target.overloadpacket.__name__ if isinstance(target, torch._ops.OpOverload) else getattr(target, "__name__", str(target))
    return str(name).rstrip("_") if not str(name).startswith("_") else str(name)


def shape(node: fx.Node) -> tuple[int, ...]:
    """The shape of a node's tensor, batch first."""
    return tuple(int(size) for size in node.meta["val"].shape)


def module_path(node: fx.Node) -> str:
    """The path of the innermost module that ran a node, in the user's own names; ``""`` for the model itself."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = str(stack[-1][0]) if stack else ""
    return ".".join(part.partition("@")[0] for part in path.split(".")[1:])


@dataclass(frozen=True)
class Dataflow:
    """``data``: nodes that depend on the model's inputs. ``carriers``: data nodes through which parameters get a gradient.

    ``weights``: nodes without data that parameters get a gradient through (the parameters, a normalised weight). ``order``: each
    node's position. ``trainable``: parameters that want a gradient.
    """

    data: frozenset[fx.Node]
    carriers: frozenset[fx.Node]
    weights: frozenset[fx.Node]
    order: dict[fx.Node, int]
    trainable: frozenset[str]

    def inputs(self, node: fx.Node) -> list[fx.Node]:
        """The carriers that a node reads."""
        return [source for source in node.all_input_nodes if source in self.carriers]

    def users(self, node: fx.Node) -> list[fx.Node]:
        """The carriers that read a node."""
        return [user for user in node.users if user in self.carriers]


def analyse(captured: Capture, trainable: Iterable[str]) -> Dataflow:
    """One walk over the graph, front to back."""
    wanted = frozenset(trainable)
    data: set[fx.Node] = set()
    gradient: set[fx.Node] = set()
    for node in captured.graph.nodes:
        if node.op == "placeholder":
            kind, name = captured.inputs[node]
            if kind == "user":
                data.add(node)
            elif kind == "parameter" and name in wanted:
                gradient.add(node)
        elif node.op == "call_function":
            sources = node.all_input_nodes
            if any(source in data for source in sources) or not sources:
                data.add(node)
            if op_name(node) not in NO_GRADIENT and _has_gradient_dtype(node) and any(source in gradient for source in sources):
                gradient.add(node)
    order = {node: position for position, node in enumerate(captured.graph.nodes)}
    return Dataflow(
        frozenset(data), frozenset(_leading_to(captured.output, data & gradient)), frozenset(gradient - data), order, wanted
    )


def ancestors(nodes: Iterable[fx.Node], down_to: fx.Node | None = None) -> set[fx.Node]:
    """The nodes and everything that they are computed from; of ``down_to`` the node itself, and nothing behind it."""
    seen = set(nodes)
    stack = list(seen)
    while stack:
        for source in stack.pop().all_input_nodes:
            if source not in seen:
                seen.add(source)
                if source is not down_to:
                    stack.append(source)
    return seen


def _leading_to(output: fx.Node, carriers: set[fx.Node]) -> set[fx.Node]:
    """Those carriers through which a gradient comes back from the output: not what only detached values are made of."""
    reached, stack = {output} & carriers, [output]
    while stack:
        for source in stack.pop().all_input_nodes:
            if source in carriers and source not in reached:
                reached.add(source)
                stack.append(source)
    return reached


def _has_gradient_dtype(node: fx.Node) -> bool:
    value = node.meta.get("val")
    values = value if isinstance(value, tuple | list) else (value,)
    return any(isinstance(v, Tensor) and (v.is_floating_point() or v.is_complex()) for v in values)


def channel_dim(node: fx.Node) -> int:
    """The channel axis of a site's tensor: 1 behind a convolution or batch norm, the last behind a linear layer."""
    seen: fx.Node | None = node
    dims = len(shape(node))
    while seen is not None and seen.op == "call_function":
        name = op_name(seen)
        if name in CHANNELS_FIRST and dims > 2:
            return 1
        if name in CHANNELS_LAST:
            return dims - 1
        seen = next((source for source in seen.all_input_nodes if _same_rank(source, dims) or name == "getitem"), None)
    return 1 if dims != 3 else 2


def _same_rank(node: fx.Node, dims: int) -> bool:
    value = node.meta.get("val")
    return (isinstance(value, Tensor) and value.dim() == dims) or isinstance(value, tuple | list)
