"""Which weights an error passes, and over which mirrors: an error parameter for each that is not the weight itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import fx

from compiler.capture import Capture
from compiler.dataflow import Dataflow, shape
from compiler.errorgraph import ErrorEdge, ErrorParameter, in_front, is_frozen, mode
from compiler.errors import EdgeError
from compiler.mirrors import mirrored_weights
from compiler.partition import Partition, Region, parameters_behind
from wiring import Mirror, Rule

Modes = list[tuple[Mirror, "Rule | ErrorEdge"]]


@dataclass
class MirrorSet:
    """The mirrors of a model: for each mode the error parameter's name of each weight, and every such parameter by name.

    Whatever passes a weight in the same mode shares its mirror, so it must teach it alike. What lies in front of a region reaches it
    through junctions, too: values of several readers that are no sites.
    """

    captured: Capture
    flow: Dataflow
    parts: Partition
    edges: Mapping[str, Sequence[ErrorEdge]]
    rules: Mapping[str, Rule]
    names: dict[Mirror, dict[str, str]] = field(default_factory=dict)
    parameters: dict[str, ErrorParameter] = field(default_factory=dict)
    _origins: dict[str, "Rule | ErrorEdge"] = field(default_factory=dict)
    _in_front: dict[fx.Node, dict[str, None]] = field(init=False)
    _taught: set[fx.Node] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._in_front = in_front(self.parts)
        through = self.parts.hearers
        for region in self.parts.regions.values():
            arriving = self._arriving(region, through[region.name])
            readers = [self.rules[r] for r in sorted(through[region.name]) if not is_frozen(r, self.rules)]
            local: Modes = [(mode(rule.synapse), rule) for rule in readers if isinstance(rule.synapse, Mirror)]
            behind = self._behind_parameters(region)
            for node in region.nodes:
                for weight in mirrored_weights(node, self.captured, self.flow):
                    for wanted, origin in [*arriving[node], *local] if node in behind else arriving[node]:
                        self._put(wanted, origin, weight)

    def _arriving(self, region: Region, readers: set[str]) -> dict[fx.Node, Modes]:
        """For each node of a region the modes of the edges that pass it: those over which sites in front of it hear the region's readers."""
        read = {cut: {cut} for cut in region.cuts}
        modes: dict[fx.Node, Modes] = {}
        for node in region.nodes:
            read[node] = set[fx.Node]().union(*(read.get(source, ()) for source in self.flow.inputs(node)))
            sites: dict[str, None] = {}
            for cut in (cut for cut in region.cuts if cut in read[node]):
                sites |= {self.parts.z_site[cut].name: None} if cut in self.parts.z_site else self._in_front[cut]
            heard = [edge for site in sites for edge in self.edges[site] if edge.source in readers]
            modes[node] = [(mode(edge.synapse), edge) for edge in heard if isinstance(edge.synapse, Mirror)]
        return modes

    def _behind_parameters(self, region: Region) -> set[fx.Node]:
        """The nodes of a region that read what parameters have made since the last site: those that a local gradient passes."""
        taught = {cut for cut in region.cuts if cut in self._taught and cut not in self.parts.z_site}
        behind = set[fx.Node]()
        for node in region.nodes:
            if not taught.isdisjoint(self.flow.inputs(node)):
                behind.add(node)
            constants = (source for source in node.all_input_nodes if source not in self.flow.data)
            if node in behind or any(parameters_behind(source, self.captured, self.flow) for source in constants):
                taught.add(node)
        if region.head in taught:
            self._taught.add(region.head)
        return behind

    def _put(self, wanted: Mirror, origin: "Rule | ErrorEdge", weight: str) -> None:
        """A parameter for a weight under a mode, unless it has one or the mode needs none.

        Raises:
            EdgeError: it has one that learns by another plasticity.
        """
        if wanted.weights == "forward" or without_tensor(wanted):
            return
        known = self.names.setdefault(wanted, {}).get(weight)
        if known is not None:
            self._agree(known, origin, weight)
            return
        number = list(self.names).index(wanted)
        name = f"mirror:{weight}" + (f":{number + 1}" if number else "")
        self.names[wanted][weight] = name
        self.parameters[name] = ErrorParameter(name, self._shape(weight), wanted, origin.plasticity, mirrors=weight)
        self._origins[name] = origin

    def _agree(self, name: str, origin: "Rule | ErrorEdge", weight: str) -> None:
        first = self._origins[name]
        if origin.plasticity != first.plasticity:
            raise EdgeError(
                f"Errors of the {_named(first)} and of the {_named(origin)} pass {weight!r} over one mirror, which cannot learn by both. "
                "Give both the same plasticity, or one of them Mirror(init=...) with another init, which is a mirror of its own."
            )

    def _shape(self, name: str) -> tuple[int, ...]:
        return next(shape(node) for node in self.captured.inputs if self.captured.parameter(node) == name)


def _named(origin: "Rule | ErrorEdge") -> str:
    """What brings a mirror about, with its plasticity."""
    if isinstance(origin, Rule):
        return f"rule for {origin.at!r} ({origin.plasticity.kind})"
    return f"edge {origin.source!r} -> {origin.target!r} ({origin.plasticity.kind})"


def without_tensor(synapse: Mirror) -> bool:
    """Sign symmetry with constant or fresh magnitudes keeps no tensor between steps."""
    return synapse.weights == "sign" and synapse.magnitude != "fixed"
