"""Sign symmetry (Liao, Leibo, Poggio 2016): ``c_i = (V c_j) * phi'(h_i)`` with ``V = sign(W) * M``.

``usf``: magnitudes ``M`` constant (the mean magnitude of the initial distribution); ``brsf``: fresh random each batch;
``frsf``: fixed random.
"""

from typing import Literal, get_args

from wiring.errors import OptionError
from wiring.spec import Gradient, Mirror
from wiring.topology import Pairwise
from wiring.wiring import Rule, Wiring

Form = Literal["usf", "brsf", "frsf"]
_MAGNITUDE: dict[str, Literal["constant", "fresh", "fixed"]] = {"usf": "constant", "brsf": "fresh", "frsf": "fixed"}


def sign_symmetry(form: Form = "usf") -> Wiring:
    """Backpropagation that knows only the signs of the forward weights.

    Raises:
        OptionError: ``form`` is none of the three.
    """
    if form not in _MAGNITUDE:
        raise OptionError(f"Preset 'sign_symmetry' has no form {form!r}. Use one of: {', '.join(get_args(Form))}.")
    mirror = Mirror(weights="sign", magnitude=_MAGNITUDE[form])
    return Wiring(name="sign_symmetry", rules=(Rule(topology=Pairwise(), synapse=mirror, credit=Gradient()),))
