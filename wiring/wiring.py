"""The whole: a wiring is a name, its sites and an ordered list of rules; the first rule whose pattern fits a site decides it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, SerializeAsAny, ValidationError, model_validator

from wiring.match import fits_any
from wiring.record import InvalidWiring, Positive, Record, describe
from wiring.spec import Credit, Fixed, Frozen, Gradient, Mirror, Plasticity, Sites, Synapse
from wiring.teaching import check_teaching
from wiring.topology import Direct, Recursive, Silent, Topology

Signal = Literal["error", "sign", "target"]


class Rule(Record):
    """How the sites that ``at`` fits learn: five answers of the language (the sixth, where sites are, is the wiring's).

    ``signal``: what the output sends: its error ``e = N dloss/dv``, the sign of it, or the target ``t`` (one-hot labels).
    ``reduction``: hidden updates are means over the batch, or sums (DRTP's released code). ``update``: what credit ``c`` at
    ``h`` makes of a region: ``local_gradient``, the region's own vector-Jacobian product with ``c``, or ``hebbian``, ``c`` at the
    synapse's output with normalisations passed by, ``dW = c z_in^T`` (EKDAA eq. 7); they agree where a region is one synapse.
    """

    at: str = "*"
    topology: SerializeAsAny[Topology]
    signal: Signal = "error"
    synapse: SerializeAsAny[Synapse] = Mirror(weights="forward")
    credit: SerializeAsAny[Credit] = Gradient()
    plasticity: SerializeAsAny[Plasticity] = Fixed()
    reduction: Literal["mean", "sum"] = "mean"
    update: Literal["local_gradient", "hebbian"] = "local_gradient"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if isinstance(self.credit, Frozen) != isinstance(self.topology, Silent):
            raise ValueError("frozen credit and the silent topology belong together. Use both, or neither.")
        if isinstance(self.synapse, Mirror) and isinstance(self.topology, Direct | Recursive):
            raise ValueError(
                f"a mirror synapse follows one forward step, but topology {self.topology.kind!r} spans several. "
                "Use topology=Pairwise(), or synapse=Dense()."
            )
        check_teaching(self.synapse, self.plasticity)
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

    def but(self, **changes: Any) -> Self:
        """The same wiring with other fields: its own, or those of its rules.

        Fields inside records are written with two underscores: ``rec_lra().but(credit__kappa=2.0, update="hebbian")``. Another
        ``kind``, or a kind alone in a record's place, begins the record anew: ``synapse="sparse", synapse__init__kind="normal",
        synapse__init__std=0.05``.

        Raises:
            InvalidWiring: no such field, or a value that cannot be.
        """
        data = self.model_dump()
        for path in sorted(changes, key=lambda path: path.count("__") - path.endswith("__kind")):
            names = path.split("__")
            for record in [data] if names[0] in type(self).model_fields else data["rules"]:
                _set(record, names, changes[path], path)
        try:
            return type(self).model_validate(data)
        except ValidationError as error:
            raise InvalidWiring(f"Wiring {self.name!r} cannot be changed so. {describe(error)}") from error

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
        except RecursionError as error:
            raise InvalidWiring("This JSON text is no wiring: its records are nested too deeply. Write them flatter.") from error


def _set(record: dict[str, Any], names: list[str], value: Any, path: str) -> None:
    """Set a field of nested records; a new kind drops what belonged to the old one."""
    for name in names[:-1]:
        inner = record.get(name)
        if not isinstance(inner, dict):
            raise InvalidWiring(f"No record lies at {name!r} in {path!r}. Fields here: {', '.join(map(str, record))}.")
        record = inner
    if isinstance(value, str) and isinstance(record.get(names[-1]), dict):
        value = {"kind": value}
    if names[-1] == "kind":
        record.clear()
    elif names[-1] not in record and "kind" not in record:
        raise InvalidWiring(f"There is no field {names[-1]!r} in {path!r}. Fields here: {', '.join(map(str, record))}.")
    record[names[-1]] = value.model_dump() if isinstance(value, BaseModel) else value


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
            f"Mixture {name!r}: its parts have different re-projections {sorted(map(str, norms))}. "
            "Give all the same by part.but(reprojection=...), a number or None."
        )
    if sites is None and len(places) > 1:
        raise InvalidWiring(f"Mixture {name!r}: its parts name different sites. Pass sites=Sites(...) to say which hold.")
    rules = tuple(part.rules[0].model_copy(update={"at": pattern}) for pattern, part in parts.items())
    frozen = tuple(dict.fromkeys(pattern for part in parts.values() for pattern in part.frozen))
    return Wiring(name=name, rules=rules, sites=sites or places.pop(), reprojection=norms.pop(), frozen=frozen)
