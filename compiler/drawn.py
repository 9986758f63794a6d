"""What topologies and operators of any package answer when the error graph is drawn, looked at before it is used."""

from compiler.contract import calling
from compiler.errors import EdgeError
from compiler.synapses import Port, find_operator
from wiring import OUTPUT, Edge, Explicit, SiteStructure
from wiring.spec import Synapse
from wiring.topology import Topology


def edges_into(site: str, topology: Topology, structure: SiteStructure) -> tuple[Edge, ...] | None:
    """The edges into a site by its topology (of an explicit one all, ends as they are drawn); ``None`` where it is no site.

    Raises:
        EdgeError: the topology's function fails, or answers with something else than edges into the site from others.
    """
    if isinstance(topology, Explicit):
        return topology.edges
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
            raise EdgeError(f"{word} names {edge.source!r}, which is no site. Sites: {', '.join((*structure.sites, OUTPUT))}.")
        if edge.target != site:
            raise EdgeError(f"{word} draws an edge into {edge.target!r}. Return the edges into the site that it is asked for.")
    return tuple(edges)


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
