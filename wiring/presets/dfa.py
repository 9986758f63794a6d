"""Direct feedback alignment (Nokland 2016; DKP eq. 3): ``c_i = (B_i e_L) * phi'(h_i)``, ``B_i`` fixed and random."""

from wiring.spec import Dense, Fixed, Gradient
from wiring.topology import Direct
from wiring.wiring import Rule, Wiring


def dfa() -> Wiring:
    """Each site hears the output's error through its own fixed random matrix."""
    return Wiring(
        name="dfa",
        rules=(Rule(topology=Direct(), signal="error", synapse=Dense(), credit=Gradient(), plasticity=Fixed()),),
    )
