"""What topologies and operators of any package answer when the error graph is drawn, looked at before it is used."""

from collections.abc import Mapping
from itertools import pairwise

from compiler.contract import calling
from compiler.errors import EdgeError, SiteError
from compiler.port import Port
from compiler.synapses import find_operator
from wiring import OUTPUT, Edge, Explicit, Recursive, SiteStructure, Wiring
from wiring.spec import Synapse
from wiring.topology import Topology


def edges_into(site: str, topology: Topology, structure: SiteStructure) -> tuple[Edge, ...] | None:
    """The edges into a site by its topology; ``None`` where it is no site.

    Raises:
        EdgeError: the topology's function fails, or answers with something else than edges into the site from others.
    """
    word = f"Topology {topology.kind!r}, asked for site {site!r},"
    wanted = "Return a tuple of sites that it hears from senders(site, structure), or None where it is no site."
    with calling(word, wanted, EdgeError):
        edges = topology.arriving(site, structure)
    if edges is None:
        return None
    if not isinstance(edges, tuple | list) or not all(isinstance(edge, Edge) for edge in edges):
        raise EdgeError(f"{word} answers {edges!r}. Return a tuple of wiring.Edge from arriving(site, structure), or None.")
    for edge in edges:
        if edge.source not in (*structure.sites, OUTPUT):
            raise EdgeError(f"{word} names {edge.source!r}, which is no site. {listing(structure)}")
        if edge.target != site:
            raise EdgeError(f"{word} draws an edge into {edge.target!r}. Return the edges into the site that it is asked for.")
    return tuple(edges)


def check_drawn(wiring: Wiring, structure: SiteStructure) -> None:
    """Look at every edge that is drawn by hand, also where no site asks for it.

    Raises:
        EdgeError: an end is no site, an edge goes into the output, or into a site whose rule does not draw it.
    """
    drawn = [
        (rule, edge) for rule in wiring.rules if isinstance(rule.topology, Explicit) for edge in rule.topology.drawn(structure)
    ]
    for _, edge in drawn:
        for end in (edge.source, edge.target):
            if end not in (*structure.sites, OUTPUT):
                raise EdgeError(f"{_draws(wiring, edge)}, but {end!r} is no site. {listing(structure)}")
        if edge.target == OUTPUT:
            raise EdgeError(
                f"{_draws(wiring, edge)}, an edge into 'output', whose error is the loss's. Draw edges into hidden sites."
            )
    heard = {edge for rule, edge in drawn if wiring.rule(edge.target) == rule}
    for rule, edge in drawn:
        if edge not in heard:
            taken = wiring.rule(edge.target)
            raise EdgeError(
                f"{_draws(wiring, edge)} in its rule for {rule.at!r}, but what {edge.target!r} hears is said by "
                f"{'no rule' if taken is None else f'the rule for {taken.at!r}'}, so the edge would be lost. Draw it there, or leave it out here."
            )


def _draws(wiring: Wiring, edge: Edge) -> str:
    return f"Wiring {wiring.name!r} draws edge {edge.source!r} -> {edge.target!r}"


def check_levels(wiring: Wiring, structure: SiteStructure) -> None:
    """Look at the patterns that stand for the groups of recursive topologies.

    Raises:
        SiteError: one names no module that holds a site, or has no groups inside those of the pattern in front of it.
    """
    for rule in wiring.rules:
        patterns = (rule.topology.levels or ()) if isinstance(rule.topology, Recursive) else ()
        groups = [matched(pattern, "levels", structure) for pattern in patterns]
        for (outer, wide), (inner, narrow) in pairwise(zip(patterns, groups, strict=True)):
            over = {group: {wide.get(site) for site in narrow if narrow[site] == group} for group in narrow.values()}
            across = next((group for group, several in over.items() if len(several) > 1), None)
            if across is not None:
                raise SiteError(
                    f"levels={inner!r} stands behind {outer!r}, but its group {across!r} does not lie inside a group of {outer!r}, so a "
                    "level would be lost. Give the outermost pattern first, and each inside the one in front of it."
                )
            if len(set(narrow.values())) == len(set(wide.values())) and narrow.keys() == wide.keys():
                raise SiteError(f"levels={outer!r} and {inner!r} make the same groups, so a level would be lost. Leave one out.")


def matched(pattern: str, field: str, structure: SiteStructure) -> Mapping[str, str]:
    """The groups that a module-path pattern of a wiring's field makes.

    Raises:
        SiteError: none.
    """
    groups = structure.matching(pattern)
    if not groups and structure.sites:
        modules = ", ".join(sorted(set(structure.modules.values())))
        raise SiteError(f"{field}={pattern!r} names no module that holds a site. Sites lie in: {modules}.")
    return groups


def listing(structure: SiteStructure) -> str:
    """All names that an edge may have at its ends."""
    return f"Sites: {', '.join((*structure.sites, OUTPUT))}."


def synapse_shape(spec: Synapse, source: Port, target: Port) -> tuple[int, ...]:
    """The shape of ``E`` between two ends by its operator.

    Raises:
        EdgeError: no operator, one that fails, or one that gives no shape.
    """
    word = f"The operator of synapse {spec.kind!r} from {source.site!r} to {target.site!r}"
    wanted = "Return the shape of E from shape(spec, source, target)."
    operator = find_operator(spec)
    with calling(word, wanted, EdgeError):
        sized = operator.shape(spec, source, target)
    if not isinstance(sized, tuple | list) or not all(isinstance(size, int) and size >= 0 for size in sized):
        raise EdgeError(f"{word} gives the shape {sized!r}. Return a tuple of whole numbers.")
    return tuple(sized)
