"""The first values of error synapses: numbers from an initial distribution, and how large they can be."""

import torch
from torch import Tensor

from compiler.errors import EdgeError
from wiring import GlorotUniform, KaimingUniform, Normal, Zeros
from wiring.spec import Init


def draw(init: Init, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """First values of a synapse, as float32 on the CPU."""
    value = torch.empty(shape)
    stored = value if value.dim() > 1 else value.unsqueeze(0)
    if isinstance(init, KaimingUniform):
        torch.nn.init.kaiming_uniform_(stored, generator=generator)
    elif isinstance(init, GlorotUniform):
        torch.nn.init.xavier_uniform_(stored, generator=generator)
    elif isinstance(init, Normal):
        value.normal_(0.0, init.std, generator=generator)
    elif isinstance(init, Zeros):
        value.zero_()
    else:
        raise EdgeError(f"Init {init.kind!r} cannot be drawn. Use KaimingUniform(), GlorotUniform(), Normal(std=...) or Zeros().")
    return value


def bound(init: Init, weight: Tensor) -> float:
    """The bound ``b`` of the distribution ``U(-b, b)`` that ``draw`` takes values in a weight's shape from; ``b / 2`` is their mean magnitude.

    Raises:
        EdgeError: the distribution has none.
    """
    fan_in, fan_out = torch.nn.init._calculate_fan_in_and_fan_out(weight)
    if isinstance(init, KaimingUniform):
        return float((6.0 / fan_in) ** 0.5)
    if isinstance(init, GlorotUniform):
        return float((6.0 / (fan_in + fan_out)) ** 0.5)
    raise EdgeError(
        f"Init {init.kind!r} has no bound, to which magnitudes that are 'constant' or 'fresh' keep (Mirror(weights='sign')). "
        "Use init=KaimingUniform() or GlorotUniform(), or magnitude='fixed', which is drawn once from any."
    )
