"""A credit rule and a preset of another distribution: its entry point names this module, and importing it registers both."""

from typing import Literal

from compiler.extend import Arrival, Credit, Credited, Flow, Positive, Wiring, crediting, preset
from wiring import dfa


class Clipped(Credit):
    """``c = e = clamp(d, -limit, limit) * phi'(h)``, ``d`` the displacement of one sample."""

    kind: Literal["clipped"] = "clipped"
    limit: Positive = 1.0


@crediting(Clipped)
def clipped(spec: Clipped, arrival: Arrival) -> Credited:
    """Each number of the displacement is cut to the limit."""
    error, parameters = arrival.back(Flow(arrival.displacement.plain().clamp(-spec.limit, spec.limit)))
    return Credited(error, error, parameters)


@preset
def clipped_dfa(limit: float = 1.0) -> Wiring:
    """Direct feedback alignment whose displacements are clipped."""
    return dfa().but(name="clipped_dfa", credit=Clipped(limit=limit))
