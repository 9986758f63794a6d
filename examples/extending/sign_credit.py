"""A credit rule of one's own: the sign of the gradient's credit, so that every unit learns at the same rate.

Used like any credit: ``bp().but(credit=SignCredit(rate=0.1))``, or in texts ``bp:credit.kind=sign,credit.rate=0.1``.
"""

from typing import Literal

import torch

from compiler.extend import Arrival, Credit, Credited, Flow, Positive, crediting


class SignCredit(Credit):
    """``c = rate * sign(d * phi'(h))``; the site sends ``d * phi'(h)`` on, as under gradient credit."""

    kind: Literal["sign"] = "sign"
    rate: Positive = 0.1


@crediting(SignCredit)
def sign_credit(spec: SignCredit, arrival: Arrival) -> Credited:
    """What teaches the region is the sign, in the scale of one sample; what travels on is the error itself."""
    error, parameters = arrival.back(arrival.displacement)
    return Credited(Flow(torch.sign(error.value) * spec.rate), error, parameters)
