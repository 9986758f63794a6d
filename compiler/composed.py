"""Activations of several operators: what a module or a hand writes as ``h * sigmoid(h)``, ``h - tanh(h)`` or ``h / (1 + |h|)``."""

from torch import fx

from compiler.dataflow import Dataflow, op_name

COMPOSED: dict[tuple[str, ...], str] = {
    ("softplus", "tanh", "mul"): "mish",
    ("tanh", "sub"): "tanhshrink",
    ("abs", "add", "div"): "softsign",
}
"""Operators from the one that reads ``h`` to the one that makes ``z``, which reads ``h`` too."""
FIRST = {names[0] for names in COMPOSED}


def composed(h: fx.Node, first: fx.Node, name: str, flow: Dataflow, gates: set[str]) -> tuple[str, tuple[fx.Node, ...]] | None:
    """The activation that begins with ``first``, which reads ``h``, and its operators; ``name``: what ``first`` does.

    Any of ``gates`` times ``h`` is one, as SiLU is. Every operator but the last is read by the next one alone: another reader
    would read past the site, and its gradient would be lost.
    """
    nodes, names = [first], [name]
    while len(nodes) < 3 and len(users := flow.users(nodes[-1])) == 1:
        nodes.append(users[0])
        names.append(op_name(users[0]))
        activation = "silu" if name in gates and names[1:] == ["mul"] else COMPOSED.get(tuple(names))
        if activation is not None and _closes(h, nodes):
            return activation, tuple(nodes)
    return None


def _closes(h: fx.Node, nodes: list[fx.Node]) -> bool:
    """Whether the last operator joins ``h`` and the one before it, in the order that it asks for; Softsign divides by ``|h| + 1``."""
    *_, before, last = nodes
    if op_name(last) == "mul":
        return set(last.all_input_nodes) == {h, before}
    if op_name(last) == "div":
        return last.args == (h, before) and not last.kwargs and before.args[1:] == (1,) and not before.kwargs
    return last.args == (h, before)
