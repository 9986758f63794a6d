"""Sparse direct feedback alignment (Crafton et al. 2019): DFA whose ``B_i`` has ``fan_in`` source units a receiver unit."""

from wiring.spec import Fixed, Gradient, Sparse
from wiring.topology import Direct
from wiring.wiring import Rule, Wiring


def sparse_dfa(fan_in: int = 1) -> Wiring:
    """Direct feedback alignment with ``fan_in`` (default 1) of the output's units heard by each receiver unit."""
    return Wiring(
        name="sparse_dfa",
        rules=(Rule(topology=Direct(), synapse=Sparse(fan_in=fan_in), credit=Gradient(), plasticity=Fixed()),),
    )
