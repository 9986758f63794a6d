"""A synapse of one's own: feedback of low rank, ``d = e U V`` with ``U [S, r]`` and ``V [r, U]`` packed side by side as ``[r, S + U]``.

Used like any synapse: ``dfa().but(synapse=LowRank(rank=4))``, or in texts ``dfa:synapse.kind=low_rank,synapse.rank=4``.
"""

from typing import Literal

import torch
from torch import Tensor

from compiler.extend import Count, Port, Synapse, operator


class LowRank(Synapse):
    """``d = e U V``: ``rank`` numbers stand between sender and receiver."""

    kind: Literal["low_rank"] = "low_rank"
    rank: Count = 4


@operator(LowRank)
class LowRankOperator:
    """Two thin products in place of a wide one."""

    def shape(self, spec: LowRank, source: Port, target: Port) -> tuple[int, ...]:
        return spec.rank, source.units + target.units

    def start(self, spec: LowRank, shape: tuple[int, ...], source: Port, generator: torch.Generator) -> Tensor:
        return torch.randn(shape, generator=generator) / (spec.rank * source.units) ** 0.25

    def transmit(self, spec: LowRank, synapse: Tensor, error: Tensor, source: Port, target: Port) -> Tensor:
        u, v = synapse.split([source.units, target.units], dim=1)
        return (error.reshape(source.batch, -1) @ u.T @ v).reshape(target.shape)
