"""Where the values of a step lie while lanes run: in a lane's local variables, or in the list that all lanes share."""

from collections.abc import Mapping, Sequence, Set

from torch import fx

from compiler.effects import Effects, elements, picks
from compiler.lowered import results_of

Value = tuple[fx.Node, int]
"""A value: the node that computes it, and which of its results it is."""


class Values:
    """Values by the lane that computes them.

    Arguments:
        graph: the traced step.
        found: its effects.
        home: the lane on which each operator runs.
        lanes: how many there are.
    """

    def __init__(self, graph: fx.Graph, found: Effects, home: Mapping[fx.Node, int], lanes: int) -> None:
        self._found, self._home = found, home
        self.inputs = graph.find_nodes(op="placeholder")
        self.results = results_of(graph)
        self._places: dict[Value, list[int]] = {}
        for place, result in enumerate(self.results):
            self._places.setdefault(value_of(result), []).append(place)
        self._slots = self._shared()
        self._borrowed = [self._last_readers(lane) for lane in range(lanes)]

    @property
    def size(self) -> int:
        """How long the shared list must be: results first, then what crosses lanes."""
        return len(self.results) + len(self._slots)

    def spelt(self, value: Value) -> str:
        """How a value is written: a local variable, or its place in the shared list."""
        return f"v[{self._slots[value]}]" if value in self._slots else local(value)

    def kept(self, value: Value) -> list[str]:
        """Lines that put a value among the results, once for each that it is."""
        return [f"v[{place}] = {self.spelt(value)}" for place in self._places.get(value, ())]

    def leaves(self, value: Value, own: Set[fx.Node]) -> bool:
        """Whether a result, another lane or a node outside ``own`` needs a value."""
        if value in self._slots or value in self._places:
            return True
        node, place = value
        readers = [u for user in node.users for u in (user.users if picks(user) and user.args[1] == place else [user])]
        return any(user not in own and not picks(user) for user in readers)

    def reads(self, lane: int, node: fx.Node) -> bool:
        """Whether a lane reads a node's value."""
        return any(self._home.get(user) == lane for user in node.users)

    def let_go(self, lane: int, nodes: Sequence[fx.Node], inside: Set[Value] = frozenset()) -> list[str]:
        """Lines that drop this lane's views of other lanes' memory that nobody on it needs behind ``nodes``."""
        gone = [value for node in nodes for value in self._borrowed[lane].get(node, ())]
        return [f"{local(value)} = None" for value in gone if value not in self._slots and value not in inside]

    def held(self, lane: int, storage: str) -> list[Value]:
        """The values in a storage that a lane holds or all share; the one that allocated it first."""
        values = {
            (node, place)
            for node in self._found.holders[storage]
            if not picks(node)
            for place, name in enumerate(self._found.storages[node])
            if name == storage and ((node, place) in self._slots or self._home[node] == lane)
        }
        return sorted(values, key=lambda value: (storage not in self._found.of[value[0]].makes, local(value)))

    def _shared(self) -> dict[Value, int]:
        """Values that another lane than their own reads, and their places in the shared list."""
        slots: dict[Value, int] = {}
        for node, lane in self._home.items():
            for source in node.all_input_nodes:
                if self._home.get(source, lane) != lane:
                    slots.setdefault(value_of(source), len(self.results) + len(slots))
        return slots

    def _last_readers(self, lane: int) -> dict[fx.Node, list[Value]]:
        """Local views of another lane's memory, by the node behind which this lane needs them no more."""
        owner = {name: self._home[node] for node, effect in self._found.of.items() for name in effect.makes}
        found: dict[fx.Node, list[Value]] = {}
        order = {node: place for place, node in enumerate(n for n in self._home if self._home[n] == lane)}
        for node in order:
            if not picks(node) and len(elements(node)) == 1 and owner.get(self._found.storages[node][0], lane) != lane:
                last = max((user for user in (node, *node.users) if user in order), key=order.__getitem__)
                found.setdefault(last, []).append((node, 0))
        return found


def value_of(node: fx.Node) -> Value:
    """The value that a node stands for; picking one of several results computes nothing."""
    return (node.args[0], node.args[1]) if picks(node) else (node, 0)  # type: ignore[return-value]


def local(value: Value) -> str:
    """A value's name as a local variable."""
    node, place = value
    return node.name if len(elements(node)) == 1 else f"{node.name}_at{place}"
