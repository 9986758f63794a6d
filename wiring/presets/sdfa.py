"""Error-sign direct feedback alignment (DRTP, section 2): ``c_i = (B_i sign(e_L)) * phi'(h_i)``."""

from wiring.spec import Dense, Fixed, Gradient
from wiring.topology import Direct
from wiring.wiring import Rule, Wiring


def sdfa() -> Wiring:
    """Direct feedback alignment that sends only the sign of the output's error."""
    return Wiring(
        name="sdfa",
        rules=(Rule(topology=Direct(), signal="sign", synapse=Dense(), credit=Gradient(), plasticity=Fixed()),),
    )
