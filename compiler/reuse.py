"""In place where nobody can tell: an elementwise operator writes into an operand that nobody reads any more.

The operand's other readers must all lie behind the operator in the data flow, so that every order that respects the data
flow respects the overwriting too: no branch waits for another because of it. Half the memory traffic and no allocation.
"""

import copy
from typing import Any

import torch
from torch import Tensor, fx

from compiler.effects import Effects, draws, effects, picks

APART = "apart"
"""Under this name a node's metadata has its operator before it worked in place, and the keywords that it has got since."""


def reuse_memory(graph: fx.Graph) -> None:
    """Rewrite a traced step's elementwise operators to work in place where they can."""
    found = effects(graph)
    place = {node: number for number, node in enumerate(graph.nodes)}
    behind: dict[fx.Node, int] = {}
    for node in graph.nodes:
        reached = 0
        for source in node.all_input_nodes:
            reached |= behind[source] | 1 << place[source]
        behind[node] = reached
    for node in graph.nodes:
        if node.op == "call_function" and _by_elements(node) and not draws(node):
            for operand in _operands(node):
                target, keywords = node.target, node.kwargs.keys()
                if _free(node, operand, found, behind[node], place) and _overwrite(node, operand):
                    node.meta[APART] = target, node.kwargs.keys() - keywords
                    _move(node, operand, found)
                    break


def apart(module: fx.GraphModule) -> fx.GraphModule:
    """The same step with every value in memory of its own, for compilers that place values by themselves."""
    copied = fx.GraphModule(module, copy.deepcopy(module.graph))
    for node in copied.graph.nodes:
        if APART in node.meta:
            node.target, added = node.meta[APART]
            node.kwargs = {key: value for key, value in node.kwargs.items() if key not in added}
    copied.recompile()
    return copied


def operator(node: fx.Node) -> Any:
    """What a node computes, wherever it writes it."""
    return node.meta[APART][0] if APART in node.meta else node.target


def _by_elements(node: fx.Node) -> bool:
    """Whether an operator reads an operand of its result's shape no further than the element that it writes."""
    return torch.Tag.pointwise in getattr(node.target, "tags", ()) or node.target is torch.ops.aten.baddbmm.default


def _operands(node: fx.Node) -> list[fx.Node]:
    """Tensor arguments of the result's own shape, dtype and dense layout, the first argument first."""
    value = node.meta["val"]
    if not isinstance(value, Tensor):
        return []
    return [source for source in node.all_input_nodes if _alike(source.meta["val"], value)]


def _alike(one: Any, other: Tensor) -> bool:
    return (
        isinstance(one, Tensor)
        and one.shape == other.shape
        and one.dtype == other.dtype
        and one.device == other.device
        and one.stride() == other.stride()
        and one.nbytes == one.untyped_storage().nbytes()
    )


def _free(node: fx.Node, operand: fx.Node, found: Effects, behind: int, place: dict[fx.Node, int]) -> bool:
    """Whether an operand's storage is the step's own and everything else that touches it lies behind the node."""
    (storage,) = found.storages[operand] if len(found.storages[operand]) == 1 else (None,)
    if storage is None or storage in found.kept or storage in found.storages[node]:
        return False
    if sum(storage in found.storages[source] for source in node.all_input_nodes) > 1:
        return False
    touching = {user for holder in found.holders[storage] for user in (holder, *holder.users)} - {node}
    return all(behind >> place[other] & 1 for other in touching if not (picks(other) and storage not in found.storages[other]))


def _overwrite(node: fx.Node, operand: fx.Node) -> bool:
    """Give the node the variant of its operator that writes into the operand; False where there is none."""
    packet = node.target.overloadpacket  # type: ignore[union-attr]
    name = node.target._overloadname  # type: ignore[union-attr]
    in_place = getattr(getattr(torch.ops.aten, f"{packet.__name__}_", None), name, None)
    if in_place is not None and node.args and node.args[0] is operand:
        node.target = in_place
        return True
    for out in packet.overloads():
        variant = getattr(packet, out)
        if torch.Tag.generated in variant.tags:  # computes elsewhere and copies
            continue
        wanted = variant._schema.arguments
        buffers = [argument for argument in wanted if argument.is_out]
        if len(buffers) == 1 and _same_inputs(node.target._schema.arguments, wanted):  # type: ignore[union-attr]
            node.target = variant
            node.kwargs = {**node.kwargs, buffers[0].name: operand}
            return True
    return False


def _same_inputs(own: Any, other: Any) -> bool:
    plain = [argument for argument in other if not argument.is_out]
    return [(a.name, str(a.type)) for a in own] == [(a.name, str(a.type)) for a in plain]


def _move(node: fx.Node, operand: fx.Node, found: Effects) -> None:
    """The node's value lies in the operand's storage from here on, for every later question about memory."""
    node.meta["val"] = operand.meta["val"]
    (own,), (storage,) = found.storages[node], found.storages[operand]
    for holder in found.holders.pop(own):
        found.storages[holder] = tuple(storage if name == own else name for name in found.storages[holder])
        found.holders[storage].append(holder)
    if own in found.kept:
        found.kept |= {storage}
