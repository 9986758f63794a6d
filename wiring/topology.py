"""Topologies: for every site, which sites send their error to it. Pure graph questions, no tensors.

A topology answers one question, ``senders(site, structure)``: the senders in order, or ``None`` when the topology does not
count the site among its error neurons, so that it is no site and its region belongs to whatever comes after it. One whose edges
differ in their synapses answers ``arriving(site, structure)`` instead, with the edges themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import networkx as nx
from pydantic import Field, SerializeAsAny, model_validator

from wiring.match import fits_any
from wiring.record import Count, Record, Word
from wiring.spec import Plasticity, Synapse

OUTPUT = "output"


@dataclass(frozen=True)
class SiteStructure:
    """What a topology may ask about a model.

    ``sites``: hidden sites in topological order. ``forward``: sites and ``OUTPUT``, an arrow where a value flows from one to
    the next without passing a third. ``levels``: nested groups, innermost (blocks) first, each ``{site: group}``; where groups crossed,
    a recursive topology would need more edges than its depth.
    ``modules``: the module path of each site.
    """

    sites: tuple[str, ...]
    forward: nx.DiGraph
    levels: tuple[Mapping[str, str], ...]
    modules: Mapping[str, str]

    def closing(self, level: Mapping[str, str], group: str) -> str:
        """The site whose value leaves a group: its last one in topological order."""
        return [site for site in self.sites if level.get(site) == group][-1]

    def site(self, name: str) -> str:
        """The site that an end of a drawn edge means: of that name, or whose value leaves the block with that path; else the name as it is."""
        if name in (*self.sites, OUTPUT):
            return name
        return next((self.closing(level, name) for level in self.levels if name in level.values()), name)

    def matching(self, pattern: str) -> Mapping[str, str]:
        """The groups that a module-path pattern makes: each site falls to its outermost module that matches."""
        groups: dict[str, str] = {}
        for site in self.sites:
            parts = self.modules[site].split(".")
            paths = (".".join(parts[: n + 1]) for n in range(len(parts)))
            found = next((path for path in paths if path and fits_any(path, (pattern,))), None)
            if found is not None:
                groups[site] = found
        return groups


class Edge(Record):
    """One error edge; without its own ``synapse`` or ``plasticity`` it takes the rule's."""

    source: str
    target: str
    synapse: SerializeAsAny[Synapse] | None = None
    plasticity: SerializeAsAny[Plasticity] | None = None


class Topology(Word):
    """Family: which site sends to which. A topology defines ``senders``, or ``arriving`` where its edges differ in more than their ends."""

    def senders(self, site: str, structure: SiteStructure) -> tuple[str, ...] | None:
        """The senders of ``site``, or ``None`` when it is no site under this topology."""
        raise TypeError(f"Topology {type(self).__name__} must define senders(site, structure) or arriving(site, structure).")

    def arriving(self, site: str, structure: SiteStructure) -> tuple[Edge, ...] | None:
        """The edges into ``site``, each with the rule's synapse and plasticity or its own, or ``None`` when it is no site."""
        senders = self.senders(site, structure)
        return None if senders is None else tuple(Edge(source=sender, target=site) for sender in senders)


class Pairwise(Topology):
    """Each site hears the sites that read its value next (BP, FA, KP, LRA-E, EKDAA)."""

    kind: Literal["pairwise"] = "pairwise"

    def senders(self, site: str, structure: SiteStructure) -> tuple[str, ...] | None:
        return tuple(structure.forward.successors(site))


class Direct(Topology):
    """Each site hears the output (DFA, DKP, DRTP)."""

    kind: Literal["direct"] = "direct"

    def senders(self, site: str, structure: SiteStructure) -> tuple[str, ...] | None:
        return (OUTPUT,)


class Skip(Topology):
    """Sites whose number (from 1, in topological order) is a multiple of ``gap`` hear the output, the others their successors.

    Source: rec-LRA, algorithm 1. For ``gap=1`` this is pairwise, as the paper's appendix says; algorithm 1 read literally
    would make it direct-to-all (every ``l mod 1 == 0``): the appendix is taken. For a gap above 2 algorithm 1 chains
    inside a block while figure 1's text describes a star: the algorithm is taken.
    """

    kind: Literal["skip"] = "skip"
    gap: Count

    def senders(self, site: str, structure: SiteStructure) -> tuple[str, ...] | None:
        number = structure.sites.index(site) + 1
        if self.gap > 1 and number % self.gap == 0:
            return (OUTPUT,)
        return tuple(structure.forward.successors(site))


class Recursive(Topology):
    """Output to the outputs of the outermost groups, each group's output to what is inside, ``depth`` edges at most.

    Source: rec-LRA, algorithm 2. Depth 1: the output to block outputs, and only those are sites (and what lies outside any block).
    Depth 2: also block output to each site in its block. Depth k: one more level of nesting (stages, blocks, layers), counted
    from the leaves, which is our reading above depth 2. ``levels``: module-path patterns, outermost first, instead of the
    groups that the compiler finds; ``depth - 1`` of them, or one for depth 1.
    """

    kind: Literal["recursive"] = "recursive"
    depth: Count = 2
    levels: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _as_many_levels_as_depth_wants(self) -> Self:
        wanted = max(self.depth - 1, 1)
        if self.levels is not None and len(self.levels) != wanted:
            patterns = "one pattern" if wanted == 1 else f"{wanted} patterns"
            raise ValueError(
                f"depth={self.depth} takes {patterns} of levels, outermost first, and not {len(self.levels)}: {', '.join(self.levels) or 'none'}. "
                f"Give {wanted}"
                + (f", or depth={len(self.levels) + 1}." if self.levels else ", or levels=None for the blocks that are found.")
            )
        return self

    def senders(self, site: str, structure: SiteStructure) -> tuple[str, ...] | None:
        levels = structure.levels if self.levels is None else [structure.matching(p) for p in reversed(self.levels)]
        for level in levels[: max(self.depth - 1, 1)]:
            if site in level:
                closing = structure.closing(level, level[site])
                if closing != site:
                    return (closing,) if self.depth > 1 else None
        return (OUTPUT,)


class Explicit(Topology):
    """The edges as drawn by hand. A block's module path names the block's output site."""

    kind: Literal["explicit"] = "explicit"
    edges: Annotated[tuple[Edge, ...], Field(min_length=1)]

    def arriving(self, site: str, structure: SiteStructure) -> tuple[Edge, ...]:
        return tuple(edge for edge in self.drawn(structure) if edge.target == site)

    def drawn(self, structure: SiteStructure) -> tuple[Edge, ...]:
        """Every edge, its ends as the names of sites."""
        return tuple(
            edge.model_copy(update={"source": structure.site(edge.source), "target": structure.site(edge.target)})
            for edge in self.edges
        )


class Silent(Topology):
    """Nobody sends to anybody: for frozen sites."""

    kind: Literal["silent"] = "silent"

    def senders(self, site: str, structure: SiteStructure) -> tuple[str, ...] | None:
        return ()
