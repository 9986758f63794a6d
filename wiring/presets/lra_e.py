"""Error-driven local representation alignment, LRA-E (Ororbia and Mali 2019; rec-LRA table 1).

``d_i = sum_j E_ji e_j`` from the successors, ``y_i = phi(h_i - beta d_i)``, ``e_i = z_i - y_i``, ``dW_i = e_i z_in^T``,
``dE = gamma z_i e_j^T`` (activity-Hebbian).

A chain of L sites sends ``beta^L`` of the output's error to its first one: with ``beta = 0.1`` a 19-layer ResNet's first targets
fall below float32 rounding and their regions stand still, so the default is 0.9. A short chain wants less: on MNIST five tanh layers
of 256 learn better with 0.1 (3.9 % of held-out images wrong after three epochs, where 0.9 stands at 7).
"""

from wiring.spec import ByShape, Hebbian, Kernel, Target
from wiring.topology import Pairwise
from wiring.wiring import Rule, Wiring


def lra_e(beta: float = 0.9, gamma: float = 0.1) -> Wiring:
    """Local targets from the next layers' errors, over synapses of their own: kernels between maps, dense otherwise."""
    rule = Rule(
        topology=Pairwise(),
        synapse=ByShape(maps=Kernel(size=3)),
        credit=Target(beta=beta),
        plasticity=Hebbian(post="activity", gamma=gamma),
    )
    return Wiring(name="lra_e", rules=(rule,), reprojection=1.0)
