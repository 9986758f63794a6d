"""Error-driven local representation alignment, LRA-E (Ororbia and Mali 2019; rec-LRA table 1).

``d_i = sum_j E_ji e_j`` from the successors, ``y_i = phi(h_i - beta d_i)``, ``e_i = z_i - y_i``, ``dW_i = e_i z_in^T``,
``dE = gamma z_i e_j^T`` (activity-Hebbian).
"""

from wiring.spec import ByShape, Hebbian, Kernel, Target
from wiring.topology import Pairwise
from wiring.wiring import Rule, Wiring


def lra_e(beta: float = 0.1, gamma: float = 0.1) -> Wiring:
    """Local targets from the next layers' errors, over synapses of their own: kernels between maps, dense otherwise."""
    rule = Rule(
        topology=Pairwise(),
        synapse=ByShape(maps=Kernel(size=3)),
        credit=Target(beta=beta),
        plasticity=Hebbian(post="activity", gamma=gamma),
    )
    return Wiring(name="lra_e", rules=(rule,), reprojection=1.0)
