"""Wiring x sites -> error graph: which site hears which over which synapse, and every error parameter with its shape."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import networkx as nx

from compiler.blocks import block_levels, residual_sums
from compiler.capture import Capture
from compiler.dataflow import Dataflow, channel_dim, shape
from compiler.drawn import check_drawn, check_levels, edges_into, listing, matched, synapse_shape
from compiler.errorgraph import ErrorEdge, ErrorGraph, ErrorParameter, is_frozen
from compiler.errors import EdgeError, SiteError
from compiler.hebbian import check_hebbian
from compiler.mirrorset import MirrorSet
from compiler.partition import Partition, check_steps, partition
from compiler.port import Port
from compiler.sites import Found, Site, find_sites
from compiler.synapses import by_shape
from wiring import OUTPUT, Edge, LikeForward, Mirror, Rule, SiteStructure, Wiring
from wiring.match import fits_any
from wiring.spec import Plasticity, Synapse
from wiring.teaching import check_teaching


def resolve(captured: Capture, flow: Dataflow, wiring: Wiring, batch: int) -> ErrorGraph:
    """Find the sites, ask the topology for every site's senders, and give every edge its synapse.

    Raises:
        SiteError: no site, or a pattern that names none.
        EdgeError: unknown ends, a cycle, or a synapse that cannot map its shapes.
        CreditError: an operator inside a region that would silence what lies behind it, or a region that Hebbian updates cannot teach.
    """
    found = find_sites(captured, flow, wiring.sites)
    flow = found.flow
    parts = partition(captured, flow, found.sites, found.v)
    structure = _structure(captured, flow, found, parts, wiring)
    rules = _rules(wiring, structure)
    check_levels(wiring, structure)
    check_drawn(wiring, structure)
    dropped = {site for site in structure.sites if edges_into(site, rules[site].topology, structure) is None}
    if dropped:
        kept = tuple(site for site in found.sites if site.name not in dropped)
        found = replace(found, sites=kept, sums={node: name for node, name in found.sums.items() if name not in dropped})
        parts = partition(captured, flow, kept, found.v)
        structure = _structure(captured, flow, found, parts, wiring)
        check_drawn(wiring, structure)
    _require_sites(structure, rules, wiring)
    check_steps(parts)
    check_hebbian(captured, flow, parts, rules, wiring.name)
    sites = {site.name: site for site in found.sites}
    ports = _ports(sites, found, batch)
    edges = {site: _edges(site, structure, rules[site], ports, wiring) for site in structure.sites}
    _refuse_cycles(edges, wiring)
    edges = {site: tuple(e for e in arriving if not is_frozen(e.source, rules)) for site, arriving in edges.items()}
    mirrors = MirrorSet(captured, flow, parts, edges, rules)
    parameters = mirrors.parameters
    for edge in (edge for arriving in edges.values() for edge in arriving if edge.parameter is not None):
        name = edge.parameter or ""
        sized = synapse_shape(edge.synapse, ports[edge.source], ports[edge.target])
        parameters[name] = ErrorParameter(name, sized, edge.synapse, edge.plasticity, source=ports[edge.source])
    used = {name: rules[name] for name in (*structure.sites, OUTPUT)}
    return ErrorGraph(flow, structure, parts, sites, ports, used, edges, parameters, mirrors.names)


def _structure(captured: Capture, flow: Dataflow, found: Found, parts: Partition, wiring: Wiring) -> SiteStructure:
    names = tuple(site.name for site in found.sites)
    modules = {site.name: site.module for site in found.sites}
    plain = SiteStructure(names, parts.forward(), (), modules)
    if not wiring.sites.blocks:
        values = {site.name: site.z for site in found.sites}
        levels = block_levels(found.sums, residual_sums(captured.graph, flow), values, modules)
        return SiteStructure(names, plain.forward, levels, modules)
    groups: dict[str, str] = {}
    for pattern in wiring.sites.blocks:
        groups |= matched(pattern, "blocks", plain)
    return SiteStructure(names, plain.forward, (groups,), modules)


def _rules(wiring: Wiring, structure: SiteStructure) -> dict[str, Rule]:
    rules: dict[str, Rule] = {}
    for rule in wiring.rules:
        if rule.at != "*" and not any(fits_any(site, (rule.at,)) for site in (*structure.sites, OUTPUT)):
            raise SiteError(f"Wiring {wiring.name!r} has a rule for {rule.at!r}, which names no site. {listing(structure)}")
    for site in structure.sites:
        found = wiring.rule(site)
        if found is None:
            raise SiteError(f"No rule of wiring {wiring.name!r} fits site {site!r}. Add a rule for it, or a last one at='*'.")
        rules[site] = found
    rules[OUTPUT] = wiring.rule(OUTPUT) or wiring.rules[-1]
    return rules


def _require_sites(structure: SiteStructure, rules: Mapping[str, Rule], wiring: Wiring) -> None:
    synapse = rules[OUTPUT].synapse
    if not structure.sites and not (isinstance(synapse, Mirror) and synapse.weights == "forward"):
        raise SiteError(
            f"Wiring {wiring.name!r} finds no site in the model: no activation or residual sum lies between a parameter and the output, "
            "so every parameter would learn as under backpropagation. Name modules by Sites(modules=...), or use bp()."
        )


def _ports(sites: Mapping[str, Site], found: Found, batch: int) -> dict[str, Port]:
    nodes = {name: site.z for name, site in sites.items()} | {OUTPUT: found.v}
    return {name: Port(name, shape(node), batch, channel_dim(node)) for name, node in nodes.items()}


def _check_batch(port: Port) -> None:
    if port.shape and port.shape[0] % port.batch == 0:
        return
    if port.shape and port.batch % port.shape[0] == 0:
        raise EdgeError(
            f"The output has {port.batch} rows, but site {port.site!r} has shape {list(port.shape)}: the output is flattened over positions, so "
            "errors cannot be carried sample by sample. Return it as [N, ..., classes] and flatten it in the loss."
        )
    raise EdgeError(
        f"Site {port.site!r} has shape {list(port.shape)}, whose first axis is no multiple of the batch of {port.batch}, so errors cannot be "
        "carried sample by sample. Use batch-first modules (batch_first=True), Mirror() synapses, or Sites(exclude=...)."
    )


def _edges(site: str, structure: SiteStructure, rule: Rule, ports: Mapping[str, Port], wiring: Wiring) -> tuple[ErrorEdge, ...]:
    edges = []
    for edge in edges_into(site, rule.topology, structure) or ():
        adjacent = structure.forward.has_edge(site, edge.source)
        source, target = ports[edge.source], ports[site]
        synapse = by_shape(edge.synapse or rule.synapse, source, target)
        if isinstance(synapse, Mirror):
            if not adjacent:
                raise EdgeError(
                    f"Edge {edge.source!r} -> {site!r} of wiring {wiring.name!r} has a mirror synapse, but no value of {site!r} reaches "
                    f"{edge.source!r} without passing another site. Use Dense(), Kernel() or Pointwise()."
                )
            name = None
        else:
            _check_batch(source)
            _check_batch(target)
            if isinstance(getattr(synapse, "init", None), LikeForward):
                raise EdgeError(
                    f"Edge {edge.source!r} -> {site!r} of wiring {wiring.name!r} shall start 'like_forward', but an own synapse has no forward "
                    "weights to start from. Use KaimingUniform() or Normal(std=...), or synapse=Mirror(init=LikeForward())."
                )
            name = f"{edge.source}->{site}"
        plasticity = _plasticity(edge, synapse, rule, wiring)
        edges.append(ErrorEdge(edge.source, site, "adjacent" if adjacent else "skip", synapse, plasticity, name))
    return tuple(edges)


def _plasticity(edge: Edge, synapse: Synapse, rule: Rule, wiring: Wiring) -> Plasticity:
    """The edge's own plasticity, or else the rule's, which must suit the edge's own synapse as well."""
    plasticity = edge.plasticity or rule.plasticity
    try:
        check_teaching(synapse, plasticity)
    except ValueError as error:
        raise EdgeError(
            f"Edge {edge.source!r} -> {edge.target!r} of wiring {wiring.name!r} would never learn: {error}"
            + (" Or give the edge plasticity=Fixed(), for the one that it has is its rule's." if edge.plasticity is None else "")
        ) from error
    return plasticity


def _refuse_cycles(edges: Mapping[str, Sequence[ErrorEdge]], wiring: Wiring) -> None:
    graph = nx.MultiDiGraph((edge.source, edge.target) for arriving in edges.values() for edge in arriving)
    for source, target in {(s, t) for s, t, n in graph.edges if n > 0}:
        raise EdgeError(f"Wiring {wiring.name!r} draws edge {source!r} -> {target!r} twice. Draw it once.")
    try:
        cycle = nx.find_cycle(graph)
    except nx.NetworkXNoCycle:
        return
    path = " -> ".join([repr(step[0]) for step in cycle] + [repr(cycle[0][0])])
    raise EdgeError(
        f"Wiring {wiring.name!r} sends errors in a circle: {path}. Errors travel from the output inwards: drop an edge."
    )
