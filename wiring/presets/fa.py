"""Feedback alignment (Lillicrap et al. 2016): ``c_i = (B c_j) * phi'(h_i)``, ``B`` fixed and random, of the shape of ``W``."""

from wiring.spec import Fixed, Gradient, Mirror
from wiring.topology import Pairwise
from wiring.wiring import Rule, Wiring


def fa() -> Wiring:
    """Backpropagation with every forward weight on an error path replaced by a fixed random one."""
    return Wiring(
        name="fa",
        rules=(Rule(topology=Pairwise(), synapse=Mirror(), credit=Gradient(), plasticity=Fixed()),),
    )
