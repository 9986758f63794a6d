"""How error synapses learn: one function a plasticity class, looked up by it.

An edge's own synapse learns as a rule by a *post-synaptic* vector: its gradient ``dE`` is the outer product of that vector with the
sender's error, that is the transmission's own vector-Jacobian product, so kernels and matrices follow one formula: register such
a rule with ``@post(...)``. Any other rule makes ``dE`` of what the two ends of its edge know: ``@learning(...)``. Mirrors learn otherwise
(``compiler.mirroring``).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from compiler.contract import calling, check_flow, check_tensor
from compiler.errors import EdgeError
from compiler.flow import Flow
from compiler.port import Port
from compiler.registration import Registry
from compiler.relay import Sender
from wiring import DirectKolenPollack, Hebbian
from wiring.record import Word
from wiring.spec import Plasticity


@dataclass(frozen=True)
class Receiver:
    """What a receiving site offers its incoming synapses: activity ``z``, displacement ``d``, error ``e`` and derivative.

    ``slope(v)``: ``v * phi'(h - beta d)``, under gradient credit ``v * phi'(h)``.
    """

    z: Tensor
    displacement: Flow
    error: Flow
    slope: Callable[[Flow], Flow]

    def at(self, dtype: torch.dtype) -> "Receiver":
        """The same in another dtype."""
        return Receiver(
            self.z.to(dtype), _cast(self.displacement, dtype), _cast(self.error, dtype),
            lambda vector: _cast(self.slope(_cast(vector, self.z.dtype)), dtype),
        )  # fmt: skip


def _cast(flow: Flow, dtype: torch.dtype) -> Flow:
    return flow if flow.value.dtype == dtype else Flow(flow.value.to(dtype), flow.scale)


@dataclass(frozen=True)
class Plastic:
    """An edge behind its transmission: everything that the rule which teaches its synapse may read.

    ``synapse``: ``E``, differentiable. ``source``, ``target``: the ports of the two ends. ``run``: the forward pass from the receiver's value
    to the sender's. ``arrived``: what the transmission gave. ``scale``: by which the sum of an update over the batch is divided.
    """

    name: str
    synapse: Tensor
    sender: Sender
    receiver: Receiver
    source: Port
    target: Port
    run: Callable[[Tensor], Tensor]
    arrived: Flow
    scale: float

    def outer(self, vector: Flow) -> Tensor:
        """``a e^T`` in the layout of ``E`` for the vector ``a`` at the receiver: the transmission's vector-Jacobian product, over the batch."""
        gradient = _gradient(self.arrived.value, self.synapse, self.name, vector.value.to(self.arrived.value.dtype))
        return Flow(gradient, vector.scale * self.arrived.scale / self.scale).plain()

    def descent(self, losses: Tensor) -> Tensor:
        """The gradient by ``E`` of a loss of each sample, ``losses`` summed over the batch: its mean (its sum, where the model's loss is one)."""
        return Flow(_gradient(losses.sum(), self.synapse, self.name), 1.0 / self.scale).plain()

    def over_batch(self, values: Tensor) -> Tensor:
        """``[N, ...] -> [...]``: the mean over the batch, or the sum where the model's loss is one, as updates are."""
        return Flow(values.sum(0), 1.0 / self.scale).plain()

    def forward(self, z: Tensor) -> Tensor:
        """The sender's value, had the receiver's been ``z``: the forward pass between them, whose weights are not differentiated.

        Raises:
            EdgeError: ``z`` has another shape than the receiver's value, or no value flows from it to the sender.
        """
        check_tensor(z, f"Plasticity of {self.name!r}: forward(z)", "the receiver's value", self.receiver.z, EdgeError, ())
        return self.run(z).to(self.synapse.dtype)


def _gradient(value: Tensor, synapse: Tensor, name: str, vector: Tensor | None = None) -> Tensor:
    found = torch.autograd.grad(value, synapse, vector, allow_unused=True, retain_graph=True)[0] if value.requires_grad else None
    if found is None:
        raise EdgeError(
            f"Synapse {name!r} shall learn, but what its rule differentiates does not depend on its numbers. Use them in transmit(), or "
            "plasticity=Fixed()."
        )
    return found


Post = Callable[[Any, Receiver], Flow]
Rule = Callable[[Any, Plastic], Tensor]
RULES: Registry[Rule] = Registry("Plasticity", "function for an edge's own synapse", ["post", "learning"], EdgeError)
POSTS: set[type[Word]] = set()


def learning(spec: type[Plasticity]) -> Callable[[Rule], Rule]:
    """Register what makes a synapse's gradient ``dE`` for a plasticity class.

    Raises:
        EdgeError: the class has a function already.
    """
    return RULES.registering(spec)


def post(spec: type[Plasticity]) -> Callable[[Post], Post]:
    """Register the post-synaptic vector of a plasticity class, whose outer product with the sender's error is ``dE``.

    Raises:
        EdgeError: the class has a function already.
    """

    def register(function: Post) -> Post:
        @learning(spec)
        def outer(spec: Any, edge: Plastic) -> Tensor:
            vector = function(spec, edge.receiver)
            check_flow(vector, _word(spec, edge), "the post-synaptic vector", edge.receiver.z, EdgeError, ())
            return edge.outer(vector)

        POSTS.add(spec)
        return function

    return register


def learned(spec: Plasticity, edge: Plastic) -> Tensor:
    """``dE`` by the rule of a plasticity class.

    Raises:
        EdgeError: the class has no rule, or one that fails or gives something else than a gradient.
    """
    rule = RULES.find(spec)
    wanted = f"It makes a gradient of E {list(edge.synapse.shape)} of ends {list(edge.source.shape)} and {list(edge.target.shape)}."
    edge = edge if RULES.owner(spec) in POSTS else replace(edge, receiver=edge.receiver.at(edge.synapse.dtype))
    given = [edge.synapse, edge.sender.flow.value, edge.receiver.z, edge.receiver.error.value]
    given += [] if edge.sender.leaf is None else [edge.sender.leaf]
    with calling(_word(spec, edge), wanted, EdgeError, given), torch.enable_grad():
        gradient = rule(spec, edge)
    check_tensor(gradient, _word(spec, edge), "the gradient dE", edge.synapse, EdgeError, ())
    return gradient


def reads_sender(spec: Plasticity) -> bool:
    """Whether a rule may read the sender's activity, so that it waits for it."""
    known = RULES.owner(spec)
    return known is not None and known not in POSTS


def _word(spec: Plasticity, edge: Plastic) -> str:
    return f"Plasticity {spec.kind!r} of synapse {edge.name!r}"


@post(DirectKolenPollack)
def direct_kolen_pollack(spec: DirectKolenPollack, receiver: Receiver) -> Flow:
    """``sign * z_i`` (DKP eq. 7-8)."""
    return Flow(receiver.z).times(spec.sign)


@post(Hebbian)
def hebbian(spec: Hebbian, receiver: Receiver) -> Flow:
    """``sign * gamma`` times the displacement, activity or error (rec-LRA eq. 6 and appendix)."""
    vector = {"displacement": receiver.displacement, "activity": Flow(receiver.z), "error": receiver.error}[spec.post]
    return (receiver.slope(vector) if spec.derivative else vector).times(spec.sign * spec.gamma)
