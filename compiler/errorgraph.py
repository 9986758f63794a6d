"""The error graph: a wiring resolved against a model's sites."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import fx

from compiler.dataflow import Dataflow
from compiler.mirrors import FORWARD, Way
from compiler.partition import Partition
from compiler.port import Port
from compiler.sites import Site
from wiring import OUTPUT, Fixed, Frozen, Mirror, Rule, SiteStructure
from wiring.spec import Plasticity, Synapse


@dataclass(frozen=True)
class ErrorEdge:
    """An error edge. ``kind``: ``adjacent`` where the forward pass joins the two directly, ``skip`` elsewhere.

    ``parameter``: the error parameter of an edge with its own synapse; a mirror's are those of the weights on its path.
    """

    source: str
    target: str
    kind: Literal["adjacent", "skip"]
    synapse: Synapse
    plasticity: Plasticity
    parameter: str | None


@dataclass(frozen=True)
class ErrorParameter:
    """A tensor of an error synapse. ``mirrors``: the forward parameter that it stands for; else ``source`` -> ``target``."""

    name: str
    shape: tuple[int, ...]
    synapse: Synapse
    plasticity: Plasticity
    mirrors: str | None = None
    source: Port | None = None

    @property
    def numel(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def learns(self) -> bool:
        return not isinstance(self.plasticity, Fixed)


@dataclass(frozen=True)
class ErrorGraph:
    """The wiring resolved against a model.

    ``sites`` in topological order; ``edges`` into each site, from senders that are not frozen; ``rules`` of each site and of ``output``;
    ``mirrors``: for each mirror mode, forward parameter -> error parameter.
    """

    flow: Dataflow
    structure: SiteStructure
    parts: Partition
    sites: dict[str, Site]
    ports: dict[str, Port]
    rules: dict[str, Rule]
    edges: dict[str, tuple[ErrorEdge, ...]]
    parameters: dict[str, ErrorParameter]
    mirrors: dict[Mirror, dict[str, str]]

    def value(self, site: str) -> fx.Node:
        """The node of a site's value, or of the output's pre-activation."""
        if site != OUTPUT:
            return self.sites[site].z
        return self.parts.output.head

    def local_way(self, site: str) -> Way:
        """How credit runs through a site's own region: over mirrored weights under a mirror rule."""
        rule = self.rules[site]
        through = mode(rule.synapse) if isinstance(rule.synapse, Mirror) else FORWARD
        return Way(through, hebbian=rule.update == "hebbian" and site != OUTPUT)

    def path_weights(self, source: str, target: str) -> list[str]:
        """The forward parameters on the way from ``target``'s value to ``source``, junctions on the way included."""
        through = self.parts.hearers
        readers = [r for r in self.parts.regions.values() if self.sites[target].z in r.cuts and source in through[r.name]]
        found: dict[str, None] = {}
        while readers:
            region = readers.pop()
            found.update(dict.fromkeys(region.parameters))
            if region.name != source:
                readers += [r for r in self.parts.regions.values() if region.head in r.cuts and source in through[r.name]]
        return list(found)

    def carried(self) -> list[Port]:
        """The ends of every edge with a synapse of its own: where errors are carried sample by sample."""
        ends = [(e.source, e.target) for arriving in self.edges.values() for e in arriving if e.parameter is not None]
        return [self.ports[name] for name in dict.fromkeys(name for pair in ends for name in pair)]

    def frozen(self, site: str) -> bool:
        return is_frozen(site, self.rules)


def is_frozen(site: str, rules: Mapping[str, Rule]) -> bool:
    """Whether a site's rule freezes it, so that it hears nobody and sends nothing; the output's never does."""
    return site != OUTPUT and isinstance(rules[site].credit, Frozen)


def in_front(parts: Partition) -> dict[fx.Node, dict[str, None]]:
    """For the head of each region the sites whose values reach it through junctions at most, in the order of its cuts."""
    sites: dict[fx.Node, dict[str, None]] = {}
    for region in parts.regions.values():
        sites[region.head] = {}
        for cut in region.cuts:
            sites[region.head] |= {parts.z_site[cut].name: None} if cut in parts.z_site else sites[cut]
    return sites


def mode(synapse: Mirror) -> Mirror:
    """Mirrors of the forward weights themselves are all one, however they would start."""
    return Mirror(weights="forward", upsampling=synapse.upsampling) if synapse.weights == "forward" else synapse
