"""Backpropagation, the oracle: ``c_i = (W^T c_j) * phi'(h_i)`` (DKP eq. 2)."""

from wiring.spec import Gradient, Mirror
from wiring.topology import Pairwise
from wiring.wiring import Rule, Wiring


def bp() -> Wiring:
    """Each site hears its successors through the forward weights themselves."""
    return Wiring(name="bp", rules=(Rule(topology=Pairwise(), synapse=Mirror(weights="forward"), credit=Gradient()),))
