"""How mirrors learn: one function a plasticity class, looked up by it, that makes ``dB`` of what the weight behind the mirror learns.

A rule of this kind sees no forward weight, so that what it does is no weight transport. The weight mirror's rule reads no update and
has a phase of its own (``compiler.noise``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from compiler.contract import calling, check_flow
from compiler.errors import EdgeError
from compiler.flow import Flow
from compiler.registration import Registry
from wiring import ErrorKernel, KolenPollack
from wiring.spec import Plasticity


@dataclass(frozen=True)
class Mirroring:
    """A mirror whose forward weight has its update.

    ``mirror``: ``B``, in the weight's shape. ``update``: ``dW``, a mean over the batch (a sum where the model's loss is one), before
    re-projection.
    """

    name: str
    mirror: Tensor
    update: Flow


Rule = Callable[[Any, Mirroring], Flow]
MIRRORS: Registry[Rule] = Registry("Plasticity", "function for mirrors", ["mirroring"], EdgeError)


def mirroring(spec: type[Plasticity]) -> Callable[[Rule], Rule]:
    """Register what makes a mirror's gradient ``dB`` for a plasticity class.

    Raises:
        EdgeError: the class has a function already, or does not say that it teaches mirrors.
    """
    if spec.teaches != "mirrors":
        raise EdgeError(f"Plasticity {spec.__name__} teaches {spec.teaches!r}. Write teaches = 'mirrors' into its class.")
    return MIRRORS.registering(spec)


def mirrored(spec: Plasticity, state: Mirroring) -> Flow:
    """``dB`` by the rule of a plasticity class, in numbers of its own.

    Raises:
        EdgeError: the class has no rule, or one that fails or gives something else than a gradient.
    """
    rule = MIRRORS.find(spec)
    word, given = f"Plasticity {spec.kind!r} of mirror {state.name!r}", (state.mirror, state.update.value)
    with calling(word, f"It makes a gradient of B {list(state.mirror.shape)} of dW in the same shape.", EdgeError, given):
        gradient = rule(spec, state)
    check_flow(gradient, word, "the gradient dB", state.mirror, EdgeError, ())
    return gradient


@mirroring(KolenPollack)
def kolen_pollack(spec: KolenPollack, state: Mirroring) -> Flow:
    """``sign * dW`` (DKP eq. 6, 11)."""
    return state.update.times(spec.sign)


@mirroring(ErrorKernel)
def error_kernel(spec: ErrorKernel, state: Mirroring) -> Flow:
    """``sign * gamma * dW`` (EKDAA eq. 8)."""
    return state.update.times(spec.sign * spec.gamma)
