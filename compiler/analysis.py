"""Who waits for whom and who reads whose weights: reachability in the traced step."""

from collections.abc import Mapping

import torch.utils._pytree as pytree
from torch import fx

from compiler.dataflow import ancestors, op_name
from compiler.effects import picks, task
from compiler.lowered import Lowered
from compiler.report import Locking


class Reach:
    """Questions about a step that was traced with ``probe``, so that every site's credit is one of its results."""

    def __init__(self, lowered: Lowered) -> None:
        self.graph = lowered.module.graph
        layout, results = lowered.layout, lowered.results
        self.credits = dict(zip(layout.credits, results.credits, strict=True))
        self.updates = dict(zip(layout.gradients, results.updates, strict=False))
        placeholders = self.graph.find_nodes(op="placeholder")
        self._parameters = dict(zip(placeholders, layout.parameters, strict=False))
        self._behind = {site: ancestors([node]) for site, node in self.credits.items()}
        self._weights = self._data_free()

    def locking(self, site: str) -> Locking:
        """What a site's credit waits for."""
        behind = self._behind[site]
        for node in behind:
            about = task(node)
            if about.startswith("credit:") and about != f"credit:{site}":
                return "locked"
        if any(node in behind for other, node in self.credits.items() if other != site and node is not self.credits[site]):
            return "locked"
        return "backward-unlocked" if any(task(node) == "loss" for node in behind) else "update-unlocked"

    def weight_transport(self) -> set[str]:
        """Forward parameters that some site's credit reads outside the forward pass."""
        return {name for behind in self._behind.values() for name in self._read(behind)}

    def local_weight_transport(self) -> set[str]:
        """Forward parameters that updates read on their way inside a region, and no site's credit."""
        return self._read(ancestors(self.updates.values())) - self.weight_transport()

    def _read(self, nodes: set[fx.Node]) -> set[str]:
        found: set[str] = set()
        for node in nodes:
            if not task(node).startswith("forward:") and task(node) and node not in self._weights:
                for source in _looked_at(node, nodes):
                    found |= self._weights.get(source, set())
        return found

    def _data_free(self) -> dict[fx.Node, set[str]]:
        """Nodes computed from forward parameters alone, and which ones."""
        known: dict[fx.Node, set[str]] = {node: {name} for node, name in self._parameters.items()}
        for node in self.graph.nodes:
            sources = node.all_input_nodes
            if node.op == "call_function" and sources and all(source in known for source in sources):
                known[node] = set().union(*(known[source] for source in sources))
        return known


UNREAD: dict[str, dict[int, int | None]] = {
    "convolution_backward": {2: 0},
    "native_batch_norm_backward": {2: 0},
    "native_group_norm_backward": {4: 0},
    "native_layer_norm_backward": {5: 0, 6: None},
}
"""Arguments of backward operators whose numbers are not looked at unless somebody reads result ``n``; ``None``: never, they say only
of what size a result is."""


def _looked_at(node: fx.Node, readers: set[fx.Node]) -> set[fx.Node]:
    """The values whose numbers a node reads for what ``readers`` take of its results."""
    idle: Mapping[int, int | None] = UNREAD.get(op_name(node), {}) if node.op == "call_function" else {}
    taken = {user.args[1] for user in node.users if user in readers and picks(user)} if idle else set()
    left = {place for place, result in idle.items() if result is None or result not in taken}
    kept = [argument for place, argument in enumerate(node.args) if place not in left]
    return {source for source in pytree.tree_leaves((kept, node.kwargs)) if isinstance(source, fx.Node)}
