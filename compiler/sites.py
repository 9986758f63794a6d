"""Graph -> sites: activations with their pre-activation ``h`` and value ``z``, residual sums, module outputs, the output."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import fx

from compiler.blocks import residual_sums
from compiler.capture import Capture
from compiler.composed import FIRST, composed
from compiler.dataflow import Dataflow, analyse, module_path, op_name, shape
from compiler.errors import SiteError
from wiring import OUTPUT, Sites
from wiring.match import fits_any

SMOOTH = {
    *("tanh", "sigmoid", "gelu", "silu", "mish", "elu", "selu", "celu", "softplus", "softsign", "log_sigmoid", "tanhshrink", "sin"),
    *("log_sigmoid_forward", "elu_with_scale"),
}
PIECEWISE = {
    *("relu", "relu6", "leaky_relu", "hardtanh", "hardswish", "hardsigmoid", "prelu", "_prelu_kernel", "rrelu", "threshold"),
    *("softshrink", "hardshrink", "rrelu_with_noise"),
}
RANDOM = {"rrelu", "rrelu_with_noise"}
FLAT = {"sign", "sgn", "heaviside"}
SATURATING = {"tanh", "sigmoid", "softsign", "hardtanh", "hardsigmoid", "relu6", *FLAT}
"""Activations that are level, or nearly so, on both sides."""
ACTIVATIONS = SMOOTH | PIECEWISE | FLAT
STEPS = FLAT | {"round", "floor", "ceil", "trunc"}
GATES = {"sigmoid", "hardsigmoid"}
OUTPUT_NONLINEARITIES = ACTIVATIONS | {"log_softmax", "_log_softmax", "softmax", "_softmax"}
RESHAPES = {
    "view",
    "reshape",
    "_unsafe_view",
    "flatten",
    "squeeze",
    "unsqueeze",
    "getitem",
    "clone",
    "_to_copy",
    "contiguous",
    "alias",
}


@dataclass(frozen=True)
class Site:
    """An error neuron's place. ``phi`` are the nodes that compute ``z`` from ``h``; none where a site is the identity."""

    name: str
    module: str
    h: fx.Node
    z: fx.Node
    phi: tuple[fx.Node, ...]
    activation: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of ``h`` and ``z``, batch first."""
        return shape(self.z)


@dataclass(frozen=True)
class Found:
    """Hidden sites in topological order, the output ``v`` that sends the first error, and residual sums by their site.

    ``flow``: the dataflow again, since finding sites may have added aliases.
    """

    sites: tuple[Site, ...]
    v: fx.Node
    sums: dict[fx.Node, str]
    flow: Dataflow


def find_sites(captured: Capture, flow: Dataflow, where: Sites) -> Found:
    """Every site that ``where`` admits.

    Raises:
        SiteError: a pattern of ``where`` names no site or module.
    """
    v = _logits(captured.output, flow)
    sums = residual_sums(captured.graph, flow)
    drafts: dict[fx.Node, Site] = {}
    claimed: set[fx.Node] = set()
    for node in captured.graph.nodes:
        if node is v or node not in flow.carriers or flow.order[node] > flow.order[v]:
            continue
        site = None if node in claimed else _activation(node, flow, v)
        if site is not None:
            claimed.update(site.phi)
            if v not in site.phi:
                drafts[site.z] = site
    for total in sums:
        users = flow.users(total)
        if total is not v and not (len(users) == 1 and users[0] in drafts and drafts[users[0]].h is total):
            drafts.setdefault(total, Site(_stem(total, "add"), module_path(total), total, total, (), "identity"))
    for node, path in _module_outputs(captured.graph, flow, where.modules):
        if node not in drafts and node is not v and not any(node in site.phi or node is site.h for site in drafts.values()):
            drafts[node] = Site(path, path, node, node, (), "identity")
    ordered = sorted(drafts.values(), key=lambda site: flow.order[site.z])
    sites = _own_pre_activations(captured, _selected(_numbered(ordered), where))
    names = {site.z: site.name for site in sites} | {site.h: site.name for site in sites}
    return Found(tuple(sites), v, {total: names[total] for total in sums if total in names}, analyse(captured, flow.trainable))


def _own_pre_activations(captured: Capture, sites: list[Site]) -> list[Site]:
    """Give a site its own ``h`` where it would share one: an alias behind another site's value or pre-activation."""
    taken: set[fx.Node] = set()
    separate = []
    for site in sites:
        if site.h in taken and site.phi:
            with captured.graph.inserting_after(site.h):
                h = captured.graph.call_function(torch.ops.aten.alias.default, (site.h,))
            h.meta = dict(site.h.meta)
            for node in site.phi:
                node.replace_input_with(site.h, h)
            site = Site(site.name, site.module, h, site.z, site.phi, site.activation)
        taken |= {site.h, site.z}
        separate.append(site)
    return separate


def _activation(node: fx.Node, flow: Dataflow, v: fx.Node) -> Site | None:
    name = "relu" if _is_clamp_at_zero(node) else op_name(node)
    if name not in ACTIVATIONS | FIRST or not node.args or not isinstance(node.args[0], fx.Node):
        return None
    h = node.args[0]
    if h not in flow.carriers or h is v or shape(h) != shape(node):
        return None
    several = composed(h, node, name, flow, ACTIVATIONS)
    if several is not None:
        activation, phi = several
        stem = name if activation == "silu" and name != "sigmoid" else activation
        return Site(_stem(phi[-1], stem), module_path(phi[-1]), h, phi[-1], phi, activation)
    users = flow.users(node)
    if name not in ACTIVATIONS or (name in GATES and users and all(_multiplies(user, node, flow) for user in users)):
        return None
    return Site(_stem(node, name), module_path(node), h, node, (node,), _kind(node, name))


def _kind(node: fx.Node, name: str) -> str:
    """What an operator does as it stands: a ReLU with a bound above, a random leaky ReLU whose slope is fixed."""
    if name == "relu" and _bounds(node)[1] is not None:
        return "relu6"
    return "leaky_relu" if name in RANDOM and not _draws(node) else name


def _draws(node: fx.Node) -> bool:
    """Whether a random activation draws anew, as it does in training alone."""
    place = {"rrelu": 3, "rrelu_with_noise": 4}[op_name(node)]
    return bool(node.kwargs.get("training", node.args[place] if len(node.args) > place else False))


def _is_clamp_at_zero(node: fx.Node) -> bool:
    """``x.clamp(min=0)`` and its like, a ReLU by hand (bounded above or not)."""
    low, _ = _bounds(node)
    return isinstance(low, int | float) and low == 0


def _bounds(node: fx.Node) -> tuple[object, object]:
    """What a clamp keeps its argument between, each ``None`` where there is none."""
    if op_name(node) not in ("clamp", "clamp_min"):
        return None, None
    low, high, *_ = (*node.args[1:], None, None)
    return node.kwargs.get("min", low), node.kwargs.get("max", high)


def _multiplies(user: fx.Node, gate: fx.Node, flow: Dataflow) -> bool:
    """Whether a value only scales another one: squeeze-and-excitation, gated units."""
    if op_name(user) in RESHAPES | {"expand", "rsub", "sub"}:
        return all(_multiplies(after, user, flow) for after in flow.users(user))
    return op_name(user) == "mul" and any(source is not gate for source in flow.inputs(user))


def _stem(node: fx.Node, op: str) -> str:
    """A site's name before numbering: its module's path where the module is the activation, else the path and the operator."""
    path = module_path(node)
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    kind = str(stack[-1][1] if stack else "")
    return path if path and ".activation." in kind else f"{path}.{op}".lstrip(".")


def _numbered(sites: Iterable[Site]) -> list[Site]:
    """The second use of one module is ``name:2``."""
    seen: Counter[str] = Counter({OUTPUT: 1})
    numbered = []
    for site in sites:
        seen[site.name] += 1
        suffix = f":{seen[site.name]}" if seen[site.name] > 1 else ""
        numbered.append(Site(site.name + suffix, site.module, site.h, site.z, site.phi, site.activation))
    return numbered


def _selected(sites: list[Site], where: Sites) -> list[Site]:
    for pattern in (*where.include, *where.exclude):
        if pattern != "*" and not any(fits_any(site.name, (pattern,)) for site in sites):
            raise SiteError(f"Pattern {pattern!r} names no site. Sites: {', '.join(site.name for site in sites) or 'none'}.")
    return [site for site in sites if fits_any(site.name, where.include) and not fits_any(site.name, where.exclude)]


def _module_outputs(graph: fx.Graph, flow: Dataflow, patterns: tuple[str, ...]) -> list[tuple[fx.Node, str]]:
    """The last carrier inside each module that a pattern names."""
    last: dict[str, fx.Node] = {}
    for node in graph.nodes:
        if node in flow.carriers and isinstance(node.meta.get("val"), torch.Tensor):
            parts = module_path(node).split(".")
            for depth in range(len(parts)):
                path = ".".join(parts[: depth + 1])
                if path and fits_any(path, patterns):
                    last[path] = node
    for pattern in patterns:
        if not any(fits_any(path, (pattern,)) for path in last):
            raise SiteError(
                f"modules={pattern!r} names no module whose output learns. Use a module path as named_modules() lists it."
            )
    return [(node, path) for path, node in last.items()]


def _logits(output: fx.Node, flow: Dataflow) -> fx.Node:
    """The output's pre-activation: what a final softmax or sigmoid (and reshapes behind it) read."""
    node, logits = output, output
    while op_name(node) in OUTPUT_NONLINEARITIES | RESHAPES:
        sources = [source for source in node.all_input_nodes if source in flow.carriers]
        if len(sources) != 1 or len(flow.users(sources[0])) != 1 or not isinstance(sources[0].meta.get("val"), torch.Tensor):
            break
        if op_name(node) in OUTPUT_NONLINEARITIES:
            if len(node.all_input_nodes) > 1:
                break
            logits = sources[0]
        node = sources[0]
    return logits
