"""The control: hidden regions stay as they were drawn, only the output's region learns (DRTP, section 2)."""

from wiring.spec import Frozen
from wiring.topology import Silent
from wiring.wiring import Rule, Wiring


def shallow() -> Wiring:
    """Every hidden site is frozen; the output's region learns by the ordinary error."""
    return Wiring(name="shallow", rules=(Rule(topology=Silent(), credit=Frozen()),))
