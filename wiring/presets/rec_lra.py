"""Recursive local representation alignment (Ororbia, Mali, Kifer, Giles 2020, 2023).

``d_i = sum_j E_ji e_j`` (eq. 5), ``y_i = phi(h_i - beta d_i)`` (eq. 3), ``e_i = z_i - y_i`` (eq. 4), ``dW_i = e_i z_in^T``,
``dE``: ``displacement`` ``-gamma d_i e_j^T`` (eq. 6), ``activity`` ``gamma z_i e_j^T`` (appendix, MNIST and Fashion-MNIST) or ``error``
``-gamma e_i e_j^T`` (appendix, "derived"). ``derivative`` restores ``phi'`` in ``dW`` (eq. 7) and in ``dE``, there at ``h - beta d``
(appendix, "dx"). ``depth=1`` is the hybrid: only block outputs are sites, and inside a block the local gradient of its error
teaches. ``update="hebbian"`` is ``e_i z_in^T`` to the letter where a normalisation follows the synapse.

The paper contradicts itself: algorithm 1 prints ``d_{l-1}`` where eq. 6 has ``d_i`` and ``W h_{l-1}`` where eq. 1 has ``z``;
algorithm 2 prints ``dE = -gamma e_i d_j^T``; gamma is "close to 1", then 0.1524 (with beta 0.1205, ResNets). The equations
are taken. The displacement rule feeds back on itself and wants a small step; the default here is ``activity``. The norm of the
re-projection is never given: 1 here, ``.but(reprojection=...)`` another, or none.
"""

from typing import Literal

from wiring.spec import ByShape, Elastic, Hebbian, Pointwise, Target
from wiring.topology import Recursive, Skip
from wiring.wiring import Rule, Wiring


def rec_lra(
    depth: int = 2,
    gap: int | None = None,
    beta: float = 0.1,
    gamma: float = 0.1,
    plasticity: Literal["activity", "displacement", "error"] = "activity",
    elastic: bool = False,
    derivative: bool = False,
    update: Literal["local_gradient", "hebbian"] = "local_gradient",
) -> Wiring:
    """Local targets from the output, recursively into blocks (``depth``), or along a chain by skip-error edges (``gap``)."""
    rule = Rule(
        topology=Recursive(depth=depth) if gap is None else Skip(gap=gap),
        synapse=ByShape(maps=Pointwise()),
        credit=Target(beta=beta, elastic=Elastic() if elastic else None, derivative=derivative),
        plasticity=Hebbian(post=plasticity, gamma=gamma, sign=1 if plasticity == "activity" else -1, derivative=derivative),
        update=update,
    )
    return Wiring(name="rec_lra", rules=(rule,), reprojection=1.0)
