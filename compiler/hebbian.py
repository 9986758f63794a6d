"""What a Hebbian update asks of a region: each synapse on its own between the sites before it and ``h``."""

from collections.abc import Mapping

from torch import fx

from compiler.capture import Capture
from compiler.dataflow import Dataflow
from compiler.errors import CreditError
from compiler.mirrors import linear_weights
from compiler.partition import Partition
from wiring import OUTPUT, Rule


def check_hebbian(captured: Capture, flow: Dataflow, parts: Partition, rules: Mapping[str, Rule], wiring: str) -> None:
    """Refuse Hebbian updates where one synapse lies behind another: ``c`` is at the output of the last alone.

    Raises:
        CreditError: naming both and the ways out.
    """
    through = parts.hearers
    for region in parts.regions.values():
        strict = [site for site in sorted(through[region.name]) if site != OUTPUT and rules[site].update == "hebbian"]
        for node in region.nodes if strict else ():
            behind = _behind(node, captured, flow, parts) if linear_weights(node, captured, flow) else None
            if behind is not None:
                names = [linear_weights(synapse, captured, flow)[0] for synapse in (behind, node)]
                raise CreditError(
                    f"Wiring {wiring!r} updates site {strict[0]!r} by the Hebbian rule, but synapse {names[0]!r} lies behind {names[1]!r} "
                    "with no site between, so no credit is at its output. Use update='local_gradient', or make its output a "
                    "site by Sites(modules=...)."
                )


def _behind(node: fx.Node, captured: Capture, flow: Dataflow, parts: Partition) -> fx.Node | None:
    """A synapse whose output reaches ``node`` without passing a site."""
    seen: set[fx.Node] = set()
    stack = flow.inputs(node)
    while stack:
        current = stack.pop()
        if current in seen or current in parts.z_site:
            continue
        if linear_weights(current, captured, flow):
            return current
        seen.add(current)
        stack += flow.inputs(current)
    return None
