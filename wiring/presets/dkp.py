"""Direct Kolen-Pollack (DKP eq. 7-8): DFA with ``dB_i = e_L z_i^T``.

Equal weight decay on forward and error parameters is the optimiser's: ``SGD(learner.parameters(), weight_decay=...)``.
Batch normalisation before every activation matters (without it: exploding gradients). At the last hidden layer DKP is KP.
"""

from wiring.spec import Dense, DirectKolenPollack, Gradient
from wiring.topology import Direct
from wiring.wiring import Rule, Wiring


def dkp() -> Wiring:
    """Direct feedback alignment whose matrices learn to align the sites with the output."""
    return Wiring(
        name="dkp",
        rules=(Rule(topology=Direct(), synapse=Dense(), credit=Gradient(), plasticity=DirectKolenPollack()),),
    )
