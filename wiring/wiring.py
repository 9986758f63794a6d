"""The whole: a wiring is a name, its sites and an ordered list of rules; the first rule whose pattern fits a site decides it."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, SerializeAsAny, ValidationError, model_validator

from wiring.match import fits_any
from wiring.spec import (
    Credit,
    DirectKolenPollack,
    ErrorKernel,
    Fixed,
    Frozen,
    Gradient,
    Hebbian,
    InvalidWiring,
    KolenPollack,
    Mirror,
    Plasticity,
    Positive,
    Record,
    Sites,
    Synapse,
    describe,
)
from wiring.topology import Direct, Recursive, Silent, Topology

Signal = Literal["error", "sign", "target"]


class Rule(Record):
    """How the sites that ``at`` fits learn: five answers of the language (the sixth, where sites are, is the wiring's).

    ``signal``: what the output sends: its error ``e = N dloss/dv``, the sign of it, or the target ``t`` (one-hot labels).
    ``reduction``: hidden updates are means over the batch, or sums (DRTP's released code).
    """

    at: str = "*"
    topology: SerializeAsAny[Topology]
    signal: Signal = "error"
    synapse: SerializeAsAny[Synapse] = Mirror(weights="forward")
    credit: SerializeAsAny[Credit] = Gradient()
    plasticity: SerializeAsAny[Plasticity] = Fixed()
    reduction: Literal["mean", "sum"] = "mean"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        mirror = self.synapse if isinstance(self.synapse, Mirror) else None
        learns = f"plasticity {self.plasticity.kind!r}"
        if isinstance(self.credit, Frozen) != isinstance(self.topology, Silent):
            raise ValueError("frozen credit and the silent topology belong together. Use both, or neither.")
        if mirror and isinstance(self.topology, Direct | Recursive):
            raise ValueError(
                f"a mirror synapse follows one forward step, but topology {self.topology.kind!r} spans several. "
                "Use topology=Pairwise(), or synapse=Dense()."
            )
        if isinstance(self.plasticity, KolenPollack | ErrorKernel) and (mirror is None or mirror.weights != "random"):
            raise ValueError(f"{learns} copies forward updates. It needs synapse=Mirror(weights='random').")
        if isinstance(self.plasticity, Hebbian | DirectKolenPollack) and mirror:
            raise ValueError(f"{learns} needs an edge's own synapse. Use Dense(), Kernel() or Pointwise(), not Mirror().")
        return self


class Wiring(Record):
    """A learning algorithm, or several mixed by site pattern.

    ``reprojection``: each update whose norm exceeds it is scaled back to it, per parameter (rec-LRA, appendix).
    ``frozen``: patterns over parameter names that do not learn.
    """

    name: Annotated[str, Field(min_length=1)]
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]
    sites: Sites = Sites()
    reprojection: Positive | None = None
    frozen: tuple[str, ...] = ()

    def rule(self, site: str) -> Rule | None:
        """The first rule that fits ``site``."""
        return next((rule for rule in self.rules if fits_any(site, (rule.at,))), None)

    def to_json(self) -> str:
        """The wiring as JSON text; ``from_json`` gives an equal wiring back."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a wiring from JSON text.

        Raises:
            InvalidWiring: the text is no JSON, has unknown fields, or says something that cannot be.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise InvalidWiring(f"This JSON text is no wiring. {describe(error)}") from error


def mix(parts: Mapping[str, Wiring], *, name: str | None = None, sites: Sites | None = None) -> Wiring:
    """One wiring from several: each part's rule for the sites that its pattern fits, first pattern first.

    Example: ``mix({"features.*": dfa(), "*": bp()})``.

    Raises:
        InvalidWiring: a part is itself a mixture, or parts disagree on sites or re-projection.
    """
    if not parts:
        raise InvalidWiring("A mixture of nothing has no rule. Pass at least one part, as {'*': bp()}.")
    for pattern, part in parts.items():
        if len(part.rules) > 1:
            raise InvalidWiring(f"Part {part.name!r} for {pattern!r} is a mixture itself. Name its rules in this mixture instead.")
    name = name or "+".join(part.name for part in parts.values())
    norms, places = {part.reprojection for part in parts.values()}, {part.sites for part in parts.values()}
    if len(norms) > 1:
        raise InvalidWiring(
            f"Mixture {name!r}: its parts have different re-projections {sorted(map(str, norms))}. Give all the same."
        )
    if sites is None and len(places) > 1:
        raise InvalidWiring(f"Mixture {name!r}: its parts name different sites. Pass sites=Sites(...) to say which hold.")
    rules = tuple(part.rules[0].model_copy(update={"at": pattern}) for pattern, part in parts.items())
    frozen = tuple(dict.fromkeys(pattern for part in parts.values() for pattern in part.frozen))
    return Wiring(name=name, rules=rules, sites=sites or places.pop(), reprojection=norms.pop(), frozen=frozen)
