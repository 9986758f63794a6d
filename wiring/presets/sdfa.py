"""Error-sign direct feedback alignment (DRTP, section 2): ``c_i = (B_i sign(e_L)) * phi'(h_i)``.

``reduction="sum"`` sums hidden updates over the batch, as DRTP's released code does.
"""

from typing import Literal

from wiring.spec import Dense, Fixed, Gradient
from wiring.topology import Direct
from wiring.wiring import Rule, Wiring


def sdfa(reduction: Literal["mean", "sum"] = "mean", kappa: float = 1.0) -> Wiring:
    """Direct feedback alignment that sends only the sign of the output's error."""
    credit = Gradient(kappa=kappa)
    rule = Rule(topology=Direct(), signal="sign", synapse=Dense(), credit=credit, plasticity=Fixed(), reduction=reduction)
    return Wiring(name="sdfa", rules=(rule,))
