"""Difference target propagation (Lee, Zhang, Fischer, Bengio 2015) through the door for extensions alone: five words of 15 lines at most.

With ``z_i = f_i(z_{i-1})`` the activity of site ``i`` and ``g_i`` its decoder:

    y_last = z_last - beta dL/dz_last           the first target, by the gradient through the output layer
    y_{i-1} = z_{i-1} + g_i(y_i) - g_i(z_i)      every other target
    f_i  minimises  || f_i(z_{i-1}) - y_i ||^2   for its own weights alone
    g_i  minimises  || g_i(f_i(z_{i-1} + eps)) - (z_{i-1} + eps) ||^2,   eps ~ N(0, std^2)

The output layer minimises the loss itself. Losses are sums over units, means over the batch. Use it where the sites form a chain::

    import examples.extending.difference_target_propagation as difference
    program = compile(model, difference.dtp(beta=0.5), (x, y))
"""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import SerializeAsAny
from torch import Tensor

from compiler.extend import (
    OUTPUT,
    Arrival,
    Credit,
    Credited,
    Edge,
    Init,
    Plastic,
    Plasticity,
    Port,
    Positive,
    Relay,
    Rule,
    Sender,
    SiteError,
    SiteStructure,
    Synapse,
    Topology,
    Wiring,
    crediting,
    draw,
    learning,
    operator,
    preset,
)
from wiring import Fixed, GlorotUniform, Mirror

# --------------------------------------------------------------------------------------------- the synapse: a decoder


class Decoder(Synapse):
    """``d = g(z) - g(z - e)`` with ``g(z) = tanh(z W^T + b)``; ``W`` and ``b`` packed as ``[receiver units, sender units + 1]``."""

    kind: Literal["decoder"] = "decoder"
    init: SerializeAsAny[Init] = GlorotUniform()


def decode(synapse: Tensor, value: Tensor, source: Port, target: Port) -> Tensor:
    """``g``: the sender's ``[N, ...]`` to the receiver's."""
    rows = value.reshape(source.batch, source.units)
    return torch.tanh(F.linear(rows, synapse[:, :-1], synapse[:, -1])).reshape(target.shape)


@operator(Decoder)
class DecoderOperator(Relay):
    """The difference between what the sender is and what it shall be, decoded."""

    def shape(self, spec: Decoder, source: Port, target: Port) -> tuple[int, ...]:
        return target.units, source.units + 1

    def start(self, spec: Decoder, shape: tuple[int, ...], source: Port, generator: torch.Generator) -> Tensor:
        return F.pad(draw(spec.init, (shape[0], shape[1] - 1), generator), (0, 1))

    def transmit(self, spec: Decoder, synapse: Tensor, sender: Sender, source: Port, target: Port) -> Tensor:
        return decode(synapse, sender.z, source, target) - decode(synapse, sender.target, source, target)


# --------------------------------------------------------------------------------------------- the credit: a local loss


class LocalTarget(Credit):
    """``y = z - d``, next to the output ``y = z - beta d``; ``c`` descends ``||z - y||^2`` and the site sends ``z - y``."""

    kind: Literal["local_target"] = "local_target"
    beta: Positive = 0.5


@crediting(LocalTarget)
def local_target(spec: LocalTarget, arrival: Arrival) -> Credited:
    """``c = 2 (z - y) phi'(h)``, ``e = z - y``."""
    error = arrival.displacement.times(spec.beta if OUTPUT in arrival.senders else 1.0)
    credit, parameters = arrival.back(error.times(2.0))
    return Credited(credit, error, parameters, error.plain().square().sum())


# --------------------------------------------------------------------------------------------- how decoders learn


class Reconstruction(Plasticity):
    """The decoder learns to give back the receiver's value, with noise of deviation ``std``, from what the forward pass makes of it."""

    kind: Literal["reconstruction"] = "reconstruction"
    std: Positive = 0.1


@learning(Reconstruction)
def reconstruction(spec: Reconstruction, edge: Plastic) -> Tensor:
    """The gradient of ``||g(f(z + eps)) - (z + eps)||^2``."""
    noisy = edge.receiver.z + spec.std * torch.randn_like(edge.receiver.z)
    back = decode(edge.synapse, edge.forward(noisy), edge.source, edge.target)
    return edge.descent((back - noisy).square())


# --------------------------------------------------------------------------------------------- who hears whom


class Chain(Topology):
    """Each site hears the next one over the rule's synapse, the last one the output over its weights."""

    kind: Literal["chain"] = "chain"

    def arriving(self, site: str, structure: SiteStructure) -> tuple[Edge, ...]:
        following = (*structure.sites, OUTPUT)[structure.sites.index(site) + 1]
        after = list(structure.forward.successors(site))
        if after != [following]:
            raise SiteError(
                f"The sites of this model form no chain: {site!r} is read by {', '.join(after)}. Use a model without branches."
            )
        if following == OUTPUT:
            return (Edge(source=OUTPUT, target=site, synapse=Mirror(weights="forward"), plasticity=Fixed()),)
        return (Edge(source=following, target=site),)


@preset
def dtp(beta: float = 0.5, std: float = 0.1) -> Wiring:
    """Difference target propagation: targets through learned decoders, local losses."""
    rule = Rule(topology=Chain(), synapse=Decoder(), credit=LocalTarget(beta=beta), plasticity=Reconstruction(std=std))
    return Wiring(name="dtp", rules=(rule,))
