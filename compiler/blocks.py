"""Residual blocks: where a sum joins paths that forked, and how blocks nest in stages.

A sum of two values closes a block when parameters lie on a path to it and one summand is computed from the other, or from
a hidden value through which every path to the sum runs. The block is what lies between; its module is the innermost one that
ran the sum, and what else that module holds belongs to it too, as the shared first activation of a pre-activation block.
"""

from collections import Counter
from collections.abc import Mapping

import networkx as nx
from torch import fx

from compiler.dataflow import Dataflow, ancestors, module_path, op_name, shape

SOURCE = "source"


def residual_sums(graph: fx.Graph, flow: Dataflow) -> dict[fx.Node, fx.Node]:
    """Each residual sum and the node where its paths fork, in topological order; of a chain of sums only the last."""
    web = nx.DiGraph()
    behind: dict[fx.Node, set[fx.Node]] = {}
    for node in graph.nodes:
        if node in flow.carriers:
            sources: list[fx.Node | str] = [*flow.inputs(node)] or [SOURCE]
            web.add_edges_from((source, node) for source in sources)
            behind[node] = {node}.union(*(behind[source] for source in flow.inputs(node)))
    if SOURCE not in web:
        return {}
    dominators = nx.immediate_dominators(web, SOURCE)
    forks = {node: fork for node in behind if (fork := _fork(node, flow, behind, dominators)) is not None}
    return {node: fork for node, fork in forks.items() if not _chained(node, flow, forks)}


def _fork(
    node: fx.Node, flow: Dataflow, behind: Mapping[fx.Node, set[fx.Node]], dominators: Mapping[fx.Node | str, fx.Node | str]
) -> fx.Node | None:
    """Where the paths to a sum part: the summand that the other is computed from, else the sum's dominator; none if no block."""
    operands = flow.inputs(node)
    if op_name(node) != "add" or len(operands) != 2 or any(shape(operand) != shape(node) for operand in operands):
        return None
    one, other = operands
    fork = one if one in behind[other] else other if other in behind[one] else dominators.get(node, SOURCE)
    if not isinstance(fork, fx.Node):
        return None
    learns = any(source in flow.weights for between in _between(fork, node) for source in between.all_input_nodes)
    return fork if learns else None


def _chained(node: fx.Node, flow: Dataflow, forks: Mapping[fx.Node, fx.Node]) -> bool:
    users = flow.users(node)
    return len(users) == 1 and forks.get(users[0]) is forks[node]


def block_levels(
    sums: Mapping[fx.Node, str], forks: Mapping[fx.Node, fx.Node], sites: Mapping[str, fx.Node], modules: Mapping[str, str]
) -> tuple[dict[str, str], ...]:
    """Nested groups of sites, blocks first, then their parent modules up to (not including) the model.

    ``sums``: residual sum -> its site; ``sites``: site -> its ``z``; ``modules``: site -> module path.
    """
    owners = Counter(module_path(total) for total in sums)
    blocks: dict[str, str] = {}
    for total, closing in sorted(sums.items(), key=lambda item: len(_between(forks[item[0]], item[0]))):
        path = module_path(total)
        name = path if path and owners[path] == 1 else closing
        inner = _between(forks[total], total)
        for site, z in sites.items():
            same_module = name == path and (modules[site] == path or modules[site].startswith(path + "."))
            if site == closing or z in inner or same_module:
                blocks.setdefault(site, name)
    return (blocks, *_parents(blocks, modules)) if blocks else ()


def _between(fork: fx.Node, total: fx.Node) -> set[fx.Node]:
    """Nodes on a path from ``fork`` (excluded) to ``total`` (included)."""
    inside = {total}
    for node in sorted(ancestors([total], down_to=fork)):
        if node is fork or any(source is fork or source in inside for source in node.all_input_nodes):
            inside.add(node)
    return inside - {fork}


def _parents(blocks: Mapping[str, str], modules: Mapping[str, str]) -> list[dict[str, str]]:
    """Level by level the modules that hold the groups below; a group falls whole to the module of the site that closes it."""
    levels: list[dict[str, str]] = []
    below = blocks
    current = {modules[name] if name in modules else name.rpartition(".")[0] for name in blocks.values()} - {""}
    while current:
        closing = {below[site]: site for site in modules if site in below}  # sites come in topological order: the last one stays
        holders = {site: path for site in modules for path in current if _inside(modules[site], path)}
        ends = {site: closing[below[site]] if site in below else site for site in modules}
        below = {site: holders[end] for site, end in ends.items() if end in holders}
        levels.append(dict(below))
        current = {path.rpartition(".")[0] for path in current} - {""}
    return levels


def _inside(module: str, path: str) -> bool:
    return module == path or module.startswith(path + ".")
