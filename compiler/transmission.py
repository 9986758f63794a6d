"""One edge's transmission: the sender's error over the synapse to the receiver, by the operator of the synapse's class."""

import torch
from torch import Tensor

from compiler.contract import calling, check_tensor
from compiler.errorgraph import ErrorEdge
from compiler.errors import EdgeError
from compiler.flow import Flow
from compiler.formats import in_order, map_order
from compiler.forward import Forward
from compiler.plasticity import reads_sender
from compiler.relay import Relay, Sender
from compiler.synapses import find_operator


def transmit(forward: Forward, edge: ErrorEdge, synapse: Tensor, sent: Flow) -> Flow:
    """What arrives at the edge's receiver, differentiable by ``synapse``: in the scale of what was sent, of one sample from a relay.

    Raises:
        EdgeError: the operator fails, changes what it was given, or gives something else than the receiver's displacement.
    """
    ports, z = forward.errors.ports, forward.leaf(forward.errors.sites[edge.target].z)
    source, target = ports[edge.source].lying(map_order(sent.value)), ports[edge.target].lying(map_order(z))
    operator, sender = find_operator(edge.synapse), sender_of(forward, edge, sent, synapse.dtype)
    relays = isinstance(operator, Relay)
    dtype = synapse.dtype if relays else sent.value.dtype
    weight, word = synapse.to(dtype), f"Synapse {edge.synapse.kind!r} of edge {edge.parameter!r}"
    wanted = f"It carries an error {list(source.shape)} over E {list(weight.shape)} to d of shape {list(target.shape)}."
    given = [value for value in (weight, sender.leaf, sent.value) if value is not None]
    with torch.enable_grad(), calling(word, wanted, EdgeError, given):
        if isinstance(operator, Relay):
            arrived = operator.transmit(edge.synapse, weight, sender, ports[edge.source], ports[edge.target])
        else:
            arrived = operator.transmit(edge.synapse, weight, sent.value.detach(), source, target)
    check_tensor(arrived, word, "the displacement", z, EdgeError, (dtype,))
    with torch.enable_grad():
        arrived = in_order(arrived, target.order) if target.order else arrived
    return Flow(arrived, 1.0 if relays else sent.scale)


def sender_of(forward: Forward, edge: ErrorEdge, sent: Flow, dtype: torch.dtype) -> Sender:
    """The edge's sending end, its tensors in ``dtype``; without its activity while that is not computed."""
    node = forward.errors.value(edge.source)
    return Sender(forward.leaf(node) if forward.has(node) else None, sent, dtype)


def unread(forward: Forward, edge: ErrorEdge) -> bool:
    """Whether an edge's operator or rule reads its sender's activity, and that is not there yet."""
    reads = isinstance(find_operator(edge.synapse), Relay) or reads_sender(edge.plasticity)
    return reads and not forward.has(forward.errors.value(edge.source))
