"""Group norm in channels_last on CPUs: torch's backward crashes unless it is asked for the input's gradient as well."""

import torch
from torch import fx

from compiler.formats import map_order

BACKWARD = torch.ops.aten.native_group_norm_backward.default


def ask_for_input_gradients(graph: fx.Graph) -> None:
    """Ask every ``native_group_norm_backward`` that would crash for all three gradients; nobody reads the one of the input."""
    for node in graph.nodes:
        if node.target is not BACKWARD:
            continue
        x, mask = node.args[1].meta["val"], node.args[-1]
        if x.device.type == "cpu" and not mask[0] and map_order(x):
            node.args = (*node.args[:-1], [True, *mask[1:]])
            with x.fake_mode:
                node.meta["val"] = (torch.empty_like(x), *node.meta["val"][1:])
