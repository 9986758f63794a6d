"""How error synapses learn: one function a plasticity class, looked up by it.

An edge's own synapse learns by a *post-synaptic* vector: its gradient ``dE`` is the outer product of that vector with the
sender's error, that is the transmission's own vector-Jacobian product, so kernels and matrices follow one formula. Register
your own with ``@post(...)``. A mirror's gradient is a factor times the forward parameter's update, or comes from noise
(``compiler.noise``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from compiler.errors import EdgeError
from compiler.flow import Flow
from wiring import DirectKolenPollack, ErrorKernel, Hebbian, KolenPollack
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


Post = Callable[[Any, Receiver], Flow]
POSTS: dict[type[Plasticity], Post] = {}


def post(spec: type[Plasticity]) -> Callable[[Post], Post]:
    """Register the post-synaptic vector of a plasticity class.

    Raises:
        EdgeError: the class has one already.
    """

    def register(function: Post) -> Post:
        if spec in POSTS:
            raise EdgeError(f"Plasticity {spec.__name__} has a function already. Subclass the spec and register that.")
        POSTS[spec] = function
        return function

    return register


def post_synaptic(spec: Plasticity, receiver: Receiver) -> Flow:
    """The vector that learns at the receiver's side of an edge."""
    for cls in type(spec).__mro__:
        if cls in POSTS:
            return POSTS[cls](spec, receiver)
    raise EdgeError(f"Plasticity {type(spec).__name__} has no function for an edge's own synapse. Register one with @post(...).")


def mirror_factor(spec: Plasticity) -> float:
    """What a mirror's update is of its forward parameter's: +-1 (Kolen-Pollack), +-gamma (EKDAA eq. 8)."""
    if isinstance(spec, KolenPollack):
        return float(spec.sign)
    if isinstance(spec, ErrorKernel):
        return spec.sign * spec.gamma
    raise EdgeError(f"Plasticity {type(spec).__name__} does not teach mirrors. Use KolenPollack() or ErrorKernel().")


@post(DirectKolenPollack)
def direct_kolen_pollack(spec: DirectKolenPollack, receiver: Receiver) -> Flow:
    """``sign * z_i`` (DKP eq. 7-8)."""
    return Flow(receiver.z).times(spec.sign)


@post(Hebbian)
def hebbian(spec: Hebbian, receiver: Receiver) -> Flow:
    """``sign * gamma`` times the displacement, activity or error (rec-LRA eq. 6 and appendix)."""
    vector = {"displacement": receiver.displacement, "activity": Flow(receiver.z), "error": receiver.error}[spec.post]
    return (receiver.slope(vector) if spec.derivative else vector).times(spec.sign * spec.gamma)
