"""Which plasticity can teach which synapse: one check of the pair, for rules and for the edges that have their own."""

from wiring.spec import Mirror, Plasticity, Synapse


def check_teaching(synapse: Synapse, plasticity: Plasticity) -> None:
    """Refuse a pair that would never learn.

    Raises:
        ValueError: the plasticity teaches mirrors and the synapse is none with a tensor of its own, or the other way round.
    """
    learns = f"plasticity {plasticity.kind!r}"
    if plasticity.teaches == "mirrors" and not (isinstance(synapse, Mirror) and synapse.weights == "random"):
        raise ValueError(f"{learns} follows forward weights. It needs synapse=Mirror(weights='random').")
    if plasticity.teaches == "own" and isinstance(synapse, Mirror):
        raise ValueError(f"{learns} needs an edge's own synapse. Use Dense(), Kernel() or Pointwise(), not Mirror().")
