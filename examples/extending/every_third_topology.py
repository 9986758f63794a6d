"""A topology of one's own: every third site hears the output, the others the sites that read them.

Used like any topology: ``dfa().but(topology=EveryNth(n=3))``, or in texts ``dfa:topology.kind=every_nth,topology.n=3``.
"""

from typing import Literal

from compiler.extend import OUTPUT, Count, SiteStructure, Topology


class EveryNth(Topology):
    """Sites ``0, n, 2n, ...`` in topological order hear the output, the others their successors."""

    kind: Literal["every_nth"] = "every_nth"
    n: Count = 3

    def senders(self, site: str, structure: SiteStructure) -> tuple[str, ...]:
        direct = structure.sites.index(site) % self.n == 0
        return (OUTPUT,) if direct else tuple(structure.forward.successors(site))
