"""First values of error parameters."""

import zlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from compiler.contract import calling, check_tensor
from compiler.errorgraph import ErrorParameter
from compiler.errors import EdgeError
from compiler.formats import like
from compiler.initial import draw
from compiler.synapses import find_operator
from wiring import LikeForward, Mirror


def start(parameters: Mapping[str, ErrorParameter], model: nn.Module, seed: int) -> dict[str, Tensor]:
    """Draw every error parameter; each from a generator of its own, so that one more site changes no other's values."""
    forward = dict(model.named_parameters())
    dtype = next((value.dtype for value in forward.values() if value.is_floating_point()), torch.float32)
    return {name: _one(parameter, forward, seed).to(dtype) for name, parameter in parameters.items()}


def _one(parameter: ErrorParameter, forward: Mapping[str, Tensor], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed((seed * 1_000_003 + zlib.crc32(parameter.name.encode())) % 2**63)
    synapse = parameter.synapse
    if isinstance(synapse, Mirror):
        if isinstance(synapse.init, LikeForward) and parameter.mirrors is not None:
            value = forward[parameter.mirrors].detach().cpu().clone()
        else:
            value = draw(synapse.init, parameter.shape, generator)
        value = value if parameter.mirrors is None else like(value, forward[parameter.mirrors])
        return value.abs() if synapse.weights == "sign" else value
    assert parameter.source is not None
    word = f"The operator of synapse {synapse.kind!r} of edge {parameter.name!r}"
    with calling(word, "Draw first values of E from the generator in start(spec, shape, source, generator).", EdgeError):
        value = find_operator(synapse).start(synapse, parameter.shape, parameter.source, generator)
    check_tensor(value, word, "first values of E", torch.empty(parameter.shape, device="meta"), EdgeError, ())
    return value
