"""Cut the model at its sites: every carrier belongs to the region of exactly one head.

A *head* is a site's ``h``, the output ``v``, or a *junction*: a value that several regions read and that is no site (a
DenseNet's concatenation, say). A junction collects the local gradients of all regions that read it and hands their sum to
the region behind it, so that each region runs its backward pass once, whatever the wiring.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import networkx as nx
import torch
from torch import fx

from compiler.capture import Capture
from compiler.dataflow import Dataflow, ancestors, op_name
from compiler.errors import CreditError, SiteError
from compiler.sites import STEPS, Site
from wiring.topology import OUTPUT


@dataclass
class Region:
    """The carriers behind one head.

    ``name``: the site's, ``output``, or ``junction:<node>``. ``head``: the node whose value the region computes. ``nodes`` in
    graph order. ``cuts``: the values of other regions that it reads. ``parameters``: names that its nodes read.
    """

    name: str
    head: fx.Node
    site: Site | None = None
    nodes: list[fx.Node] = field(default_factory=list)
    cuts: list[fx.Node] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Partition:
    """Regions by head, in topological order; ``owner`` of each carrier; ``z_site``: the site whose value a node is."""

    regions: dict[fx.Node, Region]
    owner: dict[fx.Node, fx.Node]
    z_site: dict[fx.Node, Site]
    phi: dict[fx.Node, Site]

    @property
    def output(self) -> Region:
        """The region that computes the output's pre-activation."""
        return next(region for region in self.regions.values() if region.name == OUTPUT)

    @cached_property
    def hearers(self) -> dict[str, set[str]]:
        """For each region, the sites (or ``output``) whose credit runs through it: itself, or behind a junction its readers."""
        through: dict[str, set[str]] = {}
        for region in reversed(self.regions.values()):
            own = {region.name} if region.site or region.name == OUTPUT else set()
            through[region.name] = through.get(region.name, set()) | own
            for cut in region.cuts:
                if cut not in self.z_site:
                    through.setdefault(self.regions[cut].name, set()).update(through[region.name])
        return through

    def forward(self) -> nx.DiGraph:
        """Sites and the output, an arrow where a value flows from one to the next without passing a third."""
        graph = nx.DiGraph()
        graph.add_nodes_from(region.name for region in self.regions.values() if region.site or region.name == OUTPUT)
        through = self.hearers
        for region in self.regions.values():
            for cut in region.cuts:
                if cut in self.z_site:
                    graph.add_edges_from((self.z_site[cut].name, reader) for reader in sorted(through[region.name]))
            if region.site:
                readers = through[region.name] - {region.name}
                graph.add_edges_from((region.name, reader) for reader in sorted(readers))
        return graph


def partition(captured: Capture, flow: Dataflow, sites: Sequence[Site], v: fx.Node) -> Partition:
    """Assign every carrier to a head, from the output backwards.

    Raises:
        SiteError: a site's activation is read in its middle.
        CreditError: an operator of several results belongs to none.
    """
    for site in sites:
        _require_own_middle(site, flow)
    heads: dict[fx.Node, Region] = {site.h: Region(site.name, site.h, site) for site in sites}
    heads[v] = Region(OUTPUT, v)
    z_site = {site.z: site for site in sites}
    phi = {node: site for site in sites for node in site.phi}
    owner = _owners(flow, heads, phi, v)
    for node in sorted(owner, key=flow.order.__getitem__):
        region = heads.setdefault(owner[node], Region(f"junction:{owner[node].name}", owner[node]))
        region.nodes.append(node)
    ordered = {head: heads[head] for head in sorted(heads, key=flow.order.__getitem__)}
    parts = Partition(ordered, owner, z_site, phi)
    for region in ordered.values():
        _describe(region, captured, parts, flow)
    return parts


def _owners(flow: Dataflow, heads: dict[fx.Node, Region], phi: dict[fx.Node, Site], v: fx.Node) -> dict[fx.Node, fx.Node]:
    owner: dict[fx.Node, fx.Node] = {}
    for node in sorted(flow.carriers, key=flow.order.__getitem__, reverse=True):
        if node in phi or flow.order[node] > flow.order[v]:
            continue
        readers = {owner[user] for user in flow.users(node) if user in owner}
        if node in heads:
            owner[node] = node
        elif len(readers) == 1:
            owner[node] = readers.pop()
        elif readers:
            _require_tensor(node)
            owner[node] = node
    return owner


def _require_own_middle(site: Site, flow: Dataflow) -> None:
    """Refuse a reader of what lies between ``h`` and ``z``: no error would reach the site through it."""
    for node in site.phi:
        outside = [user for user in flow.users(node) if node is not site.z and user not in site.phi]
        if outside:
            raise SiteError(
                f"Site {site.name!r} ({site.activation}) computes its value by way of {node.name!r}, which {outside[0].name!r} reads as well: "
                f"that reader's gradient would be lost. Exclude the site by Sites(exclude=({site.name!r},))."
            )


def _require_tensor(node: fx.Node) -> None:
    if not isinstance(node.meta["val"], torch.Tensor):
        raise CreditError(
            f"Operator {op_name(node)!r} ({node.name}) returns several tensors that different regions read, so it belongs to none. "
            "Exclude the sites between them by Sites(exclude=...)."
        )


def _describe(region: Region, captured: Capture, parts: Partition, flow: Dataflow) -> None:
    """Fill a region's cuts and parameters (those that derived weights come from included)."""
    cuts: dict[fx.Node, None] = {}
    names: dict[str, None] = {}
    for node in region.nodes:
        for source in node.all_input_nodes:
            if source in parts.z_site or (source in parts.regions and source not in region.nodes):
                cuts[source] = None
            elif source not in flow.data:
                names.update(dict.fromkeys(parameters_behind(source, captured, flow)))
    region.cuts, region.parameters = list(cuts), list(names)


def phi_parameters(site: Site, captured: Capture, flow: Dataflow) -> list[str]:
    """The trainable parameters of a site's own activation (PReLU)."""
    outside = [source for node in site.phi for source in node.all_input_nodes if source not in flow.data]
    return sorted({name for source in outside for name in parameters_behind(source, captured, flow)})


def parameters_behind(node: fx.Node, captured: Capture, flow: Dataflow) -> list[str]:
    """The trainable parameters that a node without data is computed from."""
    names = {name for source in ancestors([node]) if (name := captured.parameter(source)) is not None}
    return sorted(name for name in names if name in flow.trainable)


def check_steps(parts: Partition) -> None:
    """Refuse operators inside a region whose zero derivative would silence every parameter behind them.

    Raises:
        CreditError: naming the operator and its region.
    """
    for region in parts.regions.values():
        for node in region.nodes:
            if op_name(node) in STEPS:
                raise CreditError(
                    f"Operator {op_name(node)!r} ({node.name}) inside region {region.name!r} has a derivative of zero almost everywhere: "
                    "whatever lies behind it would get a silent zero update. Make it a site by Sites(include=...) under target credit, "
                    "or write x + (f(x) - x).detach()."
                )
