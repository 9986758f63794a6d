"""Direct random target projection (Frenkel, Lefebvre, Bol 2021): ``c_i = (B_i t) * phi'(h_i)``, ``t`` the one-hot target.

The output must end in softmax or sigmoid with cross entropy; hidden activations should saturate (tanh, sigmoid): with ReLU
learning does not stop. ``reduction="sum"`` does not divide hidden updates by the batch size, as the released code.
"""

from typing import Literal

from wiring.spec import Dense, Fixed, Gradient
from wiring.topology import Direct
from wiring.wiring import Rule, Wiring


def drtp(reduction: Literal["mean", "sum"] = "mean", kappa: float = 1.0) -> Wiring:
    """Each site hears the label alone, so that its update waits for nothing behind it."""
    credit = Gradient(kappa=kappa)
    rule = Rule(topology=Direct(), signal="target", synapse=Dense(), credit=credit, plasticity=Fixed(), reduction=reduction)
    return Wiring(name="drtp", rules=(rule,))
