"""One node a result where torch computes independent results in one call.

``convolution_backward`` gives the gradients of input, weight and bias, each by a computation of its own; apart, the one that
travels on need not wait for the one that teaches a weight.
"""

import operator

import torch
from torch import fx

BACKWARD = torch.ops.aten.convolution_backward.default
MASK = 10


def split_backward(graph: fx.Graph) -> None:
    """Split every ``convolution_backward`` into one node for the input and one for the parameters."""
    for node in list(graph.nodes):
        if node.target is BACKWARD and node.args[MASK][0] and any(node.args[MASK][1:]):
            parts = {0: [True, False, False], 1: [False, *node.args[MASK][1:]], 2: [False, *node.args[MASK][1:]]}
            apart: dict[tuple[bool, ...], fx.Node] = {}
            for pick in list(node.users):
                mask = parts[pick.args[1]]
                if tuple(mask) not in apart:
                    with graph.inserting_before(node):
                        apart[tuple(mask)] = _copy(graph, node, mask)
                with graph.inserting_before(pick):
                    own = graph.call_function(operator.getitem, (apart[tuple(mask)], pick.args[1]))
                own.meta = dict(pick.meta)
                pick.replace_all_uses_with(own)
                graph.erase_node(pick)
            graph.erase_node(node)


def _copy(graph: fx.Graph, node: fx.Node, mask: list[bool]) -> fx.Node:
    own = graph.call_function(BACKWARD, (*node.args[:MASK], mask))
    value = tuple(result if wanted else None for result, wanted in zip(node.meta["val"], mask, strict=True))
    own.meta = {**node.meta, "val": value}
    return own
