"""The door for words of your own: everything that an extension needs, from one place.

| word | spec class | what to register |
|---|---|---|
| synapse | subclass ``Synapse`` | ``@operator(Spec)`` over a class with ``shape``, ``start``, ``transmit``; or over a ``Relay`` |
| credit | subclass ``Credit`` | ``@crediting(Spec)`` over ``f(spec, arrival) -> Credited`` |
| plasticity | subclass ``Plasticity`` | ``@post(Spec)`` over ``f(spec, receiver) -> Flow``, or ``@learning(Spec)`` over ``f(spec, edge) -> Tensor`` |
| the same for mirrors | and write ``teaches = "mirrors"`` | ``@mirroring(Spec)`` over ``f(spec, state) -> Flow`` |
| topology | subclass ``Topology`` | nothing: define ``senders`` or ``arriving`` |
| preset | - | ``@preset`` over a function that returns a ``Wiring`` |

A spec is a frozen record with ``kind: Literal["mine"] = "mine"`` and its options. ``docs/writing-a-rule.md`` says what each may read, what
it must return, and what the analyses make of it.
"""

from compiler.credit import Arrival, Credited, crediting
from compiler.errors import CreditError, EdgeError, SiteError
from compiler.flow import Flow
from compiler.initial import draw
from compiler.mirroring import Mirroring, mirroring
from compiler.plasticity import Plastic, Receiver, learning, post
from compiler.port import Port
from compiler.relay import Relay, Sender
from compiler.synapses import operator
from wiring import OUTPUT, Edge, Rule, SiteStructure, Wiring, preset
from wiring.record import Count, Fraction, Positive
from wiring.spec import Credit, Init, Plasticity, Synapse
from wiring.topology import Topology

__all__ = [
    "OUTPUT",
    "Arrival",
    "Count",
    "Credit",
    "CreditError",
    "Credited",
    "Edge",
    "EdgeError",
    "Flow",
    "Fraction",
    "Init",
    "Mirroring",
    "Plastic",
    "Plasticity",
    "Port",
    "Positive",
    "Receiver",
    "Relay",
    "Rule",
    "Sender",
    "SiteError",
    "SiteStructure",
    "Synapse",
    "Topology",
    "Wiring",
    "crediting",
    "draw",
    "learning",
    "mirroring",
    "operator",
    "post",
    "preset",
]
