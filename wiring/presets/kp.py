"""Kolen-Pollack (Akrout et al. 2019; DKP eq. 6, 11): FA with ``dB = dW^T``.

With plain SGD, equal rates and equal weight decay ``lambda`` on forward and error parameters, ``W - B^T`` contracts by
exactly ``1 - lr * lambda`` a step. Give the decay to the optimiser: ``SGD(learner.parameters(), weight_decay=...)``.
"""

from wiring.spec import Gradient, KolenPollack, Mirror
from wiring.topology import Pairwise
from wiring.wiring import Rule, Wiring


def kp() -> Wiring:
    """Feedback alignment whose backward weights learn from the forward weights' updates."""
    return Wiring(
        name="kp",
        rules=(Rule(topology=Pairwise(), synapse=Mirror(), credit=Gradient(), plasticity=KolenPollack()),),
    )
