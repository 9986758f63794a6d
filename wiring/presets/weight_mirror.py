"""Weight mirror (Akrout et al. 2019; rec-LRA table 1): FA whose backward weights learn the forward ones from noise.

Beside each step a noise phase feeds zero-mean ``xi`` into every mirrored layer alone: ``dB = decay * B - gamma (W xi) xi^T``, laid
out as ``B``. ``B`` comes to rest around ``gamma std^2 / decay`` times ``W``, so with ``gamma = decay`` and ``std = 1`` around ``W``;
a tap that reaches into a convolution's padding at the share of its positions inside times that.
No forward update is read (Kolen-Pollack does), and no forward weight outside its own layer's forward operator.
"""

from wiring.spec import Gradient, Mirror, NoiseMirror
from wiring.topology import Pairwise
from wiring.wiring import Rule, Wiring


def weight_mirror(gamma: float = 0.1, decay: float = 0.1, std: float = 1.0) -> Wiring:
    """Feedback alignment whose backward weights are taught by noise sent through the forward weights."""
    mirrored = NoiseMirror(gamma=gamma, decay=decay, std=std)
    rule = Rule(topology=Pairwise(), synapse=Mirror(), credit=Gradient(), plasticity=mirrored)
    return Wiring(name="weight_mirror", rules=(rule,))
