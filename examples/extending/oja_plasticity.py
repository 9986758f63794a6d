"""A plasticity rule of one's own, after Oja (1982): Hebbian growth held back by the activity itself.

``dE = gamma (e_j z_i + z_i^2 E)``, subtracted: with ``-e_j`` for what comes in, ``E`` follows Oja's ``z (x - z w)`` and stays bounded.
Used like any plasticity of a dense synapse: ``dfa().but(plasticity=Oja(gamma=0.01))``.
"""

from typing import Literal

from torch import Tensor

from compiler.extend import Flow, Plastic, Plasticity, Positive, learning


class Oja(Plasticity):
    """``dE = gamma (e_source z_receiver^T + z_receiver^2 E)``, a mean over the batch."""

    kind: Literal["oja"] = "oja"
    gamma: Positive = 0.1


@learning(Oja)
def oja(spec: Oja, edge: Plastic) -> Tensor:
    """The outer product is the transmission's own, the square that of each receiving unit."""
    z = edge.receiver.z
    return spec.gamma * (edge.outer(Flow(z)) + edge.over_batch(z.square()) * edge.synapse)
