"""Direct feedback alignment (Nokland 2016; DKP eq. 3): ``c_i = (B_i e_L) * phi'(h_i)``, ``B_i`` fixed and random.

``reduction="sum"`` sums hidden updates over the batch, and ``kappa`` scales them, as in DRTP's released code, which sends ``y - t``:
under a binary cross entropy that is a mean over ``C`` classes as well, that is ``kappa = C``.
"""

from typing import Literal

from wiring.spec import Dense, Fixed, Gradient
from wiring.topology import Direct
from wiring.wiring import Rule, Wiring


def dfa(reduction: Literal["mean", "sum"] = "mean", kappa: float = 1.0) -> Wiring:
    """Each site hears the output's error through its own fixed random matrix."""
    rule = Rule(topology=Direct(), synapse=Dense(), credit=Gradient(kappa=kappa), plasticity=Fixed(), reduction=reduction)
    return Wiring(name="dfa", rules=(rule,))
