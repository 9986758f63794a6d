"""What a site does with the displacement that arrives: one function a credit class, looked up by it.

Legend: all tensors have the site's shape, batch first. Register your own with ``@crediting(MyCredit)``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compiler.contract import calling, check_flow, check_tensor
from compiler.errors import CreditError
from compiler.flow import Flow
from compiler.registration import Registry
from compiler.sites import FLAT, RANDOM, Site
from wiring import Gradient, Target
from wiring.spec import Credit


@dataclass(frozen=True)
class Arrival:
    """What a site knows when its displacement is there.

    ``h`` (a leaf that ``z`` was computed from), ``z``, ``phi`` to compute another value, ``skip``: whether a skip edge ends here.
    ``parameters``: the activation's own (PReLU). ``senders``: the sites (or ``output``) whose errors make the displacement.
    """

    site: Site
    displacement: Flow
    h: Tensor
    z: Tensor
    phi: Callable[[Tensor], Tensor]
    skip: bool
    parameters: Sequence[Tensor] = ()
    senders: tuple[str, ...] = ()

    def back(self, vector: Flow) -> tuple[Flow, list[Tensor | None]]:
        """``vector * phi'(h)``, and the activation's own parameter gradients."""
        if self.z is self.h:
            return vector, []
        wanted = [self.h, *self.parameters]
        found = torch.autograd.grad(self.z, wanted, vector.value, retain_graph=True, allow_unused=True)
        return Flow(found[0], vector.scale), list(found[1:])


@dataclass(frozen=True)
class Credited:
    """``credit`` at ``h``; ``error``: what the site sends on; ``discrepancy``: its share of the total, a sum over the batch.

    ``target``: the pre-activation of the site's target, where it has one.
    """

    credit: Flow
    error: Flow
    parameters: list[Tensor | None]
    discrepancy: Tensor | None = None
    target: Tensor | None = None


Rule = Callable[[Any, Arrival], Credited]
CREDITS: Registry[Rule] = Registry("Credit", "function", ["crediting"], CreditError)


def crediting(spec: type[Credit]) -> Callable[[Rule], Rule]:
    """Register the function of a credit class.

    Raises:
        CreditError: the class has one already.
    """
    return CREDITS.registering(spec)


def credit(spec: Credit, arrival: Arrival) -> Credited:
    """Apply the rule of a credit class.

    Raises:
        CreditError: the class has no rule, or one that fails or gives something else than fits the site.
    """
    rule = CREDITS.find(spec)
    word = f"Credit {spec.kind!r} at site {arrival.site.name!r}"
    wanted = f"It makes Credited(credit, error, parameters) of a displacement {list(arrival.displacement.value.shape)}."
    with calling(word, wanted, CreditError, (arrival.displacement.value, arrival.h, arrival.z)):
        done = rule(spec, arrival)
    _check(done, word, arrival)
    return done


def _check(done: Any, word: str, arrival: Arrival) -> None:
    """Refuse what is no ``Credited`` that fits its site."""
    if not isinstance(done, Credited):
        kind = "Tensor" if isinstance(done, Tensor) else type(done).__name__
        raise CreditError(f"{word} gives a {kind}. Return Credited(credit=..., error=..., parameters=[...]).")
    dtypes = (arrival.h.dtype, arrival.z.dtype)
    check_flow(done.credit, word, "the credit", arrival.h, CreditError, dtypes)
    check_flow(done.error, word, "the error that the site sends", arrival.z, CreditError, dtypes)
    if done.target is not None:
        check_tensor(done.target, word, "the target's pre-activation", arrival.h, CreditError, dtypes)
    if done.discrepancy is not None and (not isinstance(done.discrepancy, Tensor) or done.discrepancy.numel() != 1):
        raise CreditError(f"{word} gives a discrepancy that is no single number. Return a tensor, summed over the batch, or None.")
    if len(done.parameters) > len(arrival.parameters):
        raise CreditError(
            f"{word} gives {len(done.parameters)} gradients for an activation with {len(arrival.parameters)} parameters. "
            "Return what arrival.back(...) gives as its second result, or []."
        )
    for value, parameter in zip(done.parameters, arrival.parameters, strict=False):
        if value is not None:
            check_tensor(value, word, "the gradient of the activation's parameter", parameter, CreditError, ())


def check_credit(spec: Credit, site: Site, wiring: str) -> None:
    """Refuse gradient credit where the derivative is zero almost everywhere, and a target of a random activation.

    Raises:
        CreditError: with both ways out.
    """
    if isinstance(spec, Target) and site.activation in RANDOM:
        raise CreditError(
            f"Wiring {wiring!r} cannot give site {site.name!r} ({site.activation}) a target: the activation draws its slopes anew, so z - y "
            "would be noise. Use credit=Gradient(), or an activation without random numbers."
        )
    if isinstance(spec, Gradient) and spec.surrogate is None and site.activation in FLAT:
        raise CreditError(
            f"Wiring {wiring!r} cannot credit site {site.name!r} ({site.activation}): its derivative is zero almost everywhere. "
            'Use credit=Target(beta=...), or credit=Gradient(surrogate="straight_through").'
        )


@crediting(Gradient)
def gradient(spec: Gradient, arrival: Arrival) -> Credited:
    """``e = d * phi'(h)``, which the site sends on, and ``c = kappa e``."""
    if spec.surrogate == "straight_through":
        return Credited(arrival.displacement.times(spec.kappa), arrival.displacement, [])
    e, parameters = arrival.back(arrival.displacement)
    return Credited(e.times(spec.kappa), e, parameters)


@crediting(Target)
def target(spec: Target, arrival: Arrival) -> Credited:
    """``y = phi(h - beta d)``, ``e = z - y``, elastic mix, ``c = kappa e`` or ``kappa e phi'(h)``."""
    d = arrival.displacement
    h, z = arrival.h.detach(), arrival.z.detach()
    aim = torch.sub(h, d.value, alpha=spec.beta * d.scale)
    difference = z - arrival.phi(aim)
    e = difference
    if spec.elastic is not None:
        alpha = spec.elastic.skip if arrival.skip else spec.elastic.adjacent
        e = difference * alpha + torch.sign(difference) * (1.0 - alpha)
    error = Flow(e)
    through, parameters = arrival.back(error) if spec.derivative or arrival.parameters else (error, [])
    c = (through if spec.derivative else error).times(spec.kappa)
    return Credited(c, error, parameters, spec.kappa * norm(difference, spec.p, spec.q), aim)


def norm(difference: Tensor, p: float, q: float) -> Tensor:
    """``sum over samples of ||difference||_p^q``."""
    if p == q:
        total: Tensor = torch.linalg.vector_norm(difference, p).pow(p)
        return total
    lengths: Tensor = torch.linalg.vector_norm(difference.flatten(1), p, dim=1).pow(q)
    return lengths.sum()
