"""A preset of one's own: a wiring with options, by a name for ``parse_wiring``, the command line and ``errorwire list``.

Importing this module registers it; installed, an entry point does (``examples/extending/plugin``): ``damped_dkp:kappa=0.5``.
"""

from compiler.extend import Wiring, preset
from wiring import dkp


@preset
def damped_dkp(kappa: float = 0.5) -> Wiring:
    """Direct Kolen-Pollack whose hidden updates are scaled by kappa and cut to norm 1."""
    return dkp().but(name="damped_dkp", credit__kappa=kappa, reprojection=1.0)
