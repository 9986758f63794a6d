"""The forward pass of a traced step: interpret the captured graph, cut at every head.

A value that another region reads is read as a *leaf*: the same numbers, without the autograd history behind them. So a
region's backward pass ends at its cuts, and a wiring decides what crosses them.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, fx

from compiler.bypass import NORMS, POOLS, Detour
from compiler.capture import Capture
from compiler.dataflow import Dataflow, op_name
from compiler.errorgraph import ErrorGraph
from compiler.errors import CreditError
from compiler.formats import MemoryLayout, channels_last, like, map_order
from compiler.joint import Joint
from compiler.mirrors import LinearCall, Mirrored, Transport, mirrored_weights
from compiler.partition import parameters_behind, phi_parameters
from compiler.sites import RANDOM, Site
from compiler.syncnorm import joint_norm
from wiring import Mirror


def _copied(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """``copy``, which has no derivative of its own: what an assignment to a slice leaves behind."""
    return source.to(target.dtype).expand(target.shape)


INSTEAD: dict[Any, Any] = {
    torch.ops.aten.view.default: torch.ops.aten.reshape.default,
    torch.ops.aten._unsafe_view.default: torch.ops.aten.reshape.default,
    torch.ops.aten.copy.default: _copied,
}
"""What is called in place of an operator, as fits values with other strides and with a history."""
CONVOLUTIONS = {"convolution", "conv2d", "conv3d", "conv_transpose2d", "conv_transpose3d"}
RECURRENT = {"gru", "lstm", "rnn_relu", "rnn_tanh"}
STRIDED = {"as_strided", "as_strided_copy", "as_strided_scatter", "view_as_complex"}


class Forward:
    """Values of nodes as they are computed, and leaves where regions are cut.

    ``joint``: normalisations by the statistics of several processes' joint batch.
    """

    def __init__(
        self, captured: Capture, flow: Dataflow, errors: ErrorGraph, tensors: Mapping[fx.Node, Any], parameters: Mapping[str, Tensor],
        context: Callable[[], Any], layout: MemoryLayout = "preserve", joint: Mapping[fx.Node, Joint] | None = None,
    ) -> None:  # fmt: skip
        self._joint = joint or {}
        self.captured, self.dataflow, self.errors, self.context = captured, flow, errors, context
        self.layout = layout
        self.parameters = {name: value.detach().requires_grad_(name in flow.trainable) for name, value in parameters.items()}
        self.transport = Transport()
        self._values: dict[fx.Node, Any] = dict(tensors)
        for node in captured.inputs:
            name = captured.parameter(node)
            if name is not None:
                self._values[node] = self.parameters[name]
        self._leaves: dict[fx.Node, Tensor] = {}
        self._passable = passable(errors)
        self._mirrored = {weight for names in errors.mirrors.values() for weight in names} | ({"*"} if _signs(errors) else set())

    def has(self, node: fx.Node) -> bool:
        return node in self._values

    def value(self, node: fx.Node) -> Any:
        """What another region reads: the leaf where there is a cut."""
        return self._leaves.get(node, self._values[node])

    def leaf(self, node: fx.Node) -> Tensor:
        """The leaf at a cut."""
        return self._leaves[node]

    def computed(self, node: fx.Node) -> Tensor:
        """A head's value with the history of its region."""
        value: Tensor = self._values[node]
        return value

    def output(self) -> Tensor:
        """What the loss reads, in the memory format that the model itself gives it."""
        value: Tensor = self.value(self.captured.output)
        return value if self.layout == "preserve" else like(value, self.captured.output.meta["val"])

    def settled(self, value: Tensor, place: Tensor) -> Tensor:
        """An error in the memory format of the place where it arrives; under ``preserve`` in the one that autograd gives it."""
        return value if self.layout == "preserve" or not map_order(place) else like(value, place)

    def enter(self, node: fx.Node) -> None:
        """Bring one of the model's inputs into the step's memory format."""
        if self.layout == "channels_last" and self.captured.inputs[node][0] == "user" and isinstance(self._values[node], Tensor):
            self._values[node] = channels_last(self._values[node])

    def attached(self, site: Site) -> Tensor:
        """A site's ``z`` as computed from the leaf at ``h``; that leaf itself where the site is the identity."""
        value: Tensor = self._values[site.z] if site.phi else self._leaves[site.h]
        return value

    def run(self, node: fx.Node) -> None:
        """Compute one node; cut behind it where it is a head or a site's value."""
        with torch.enable_grad(), self.context():
            self._values[node] = self._compute(node)
        parts = self.errors.parts
        if node in parts.z_site or node in parts.regions:
            self._leaves[node] = _cut(self._values[node])

    def _compute(self, node: fx.Node) -> Any:
        weights = mirrored_weights(node, self.captured, self.dataflow)
        if weights and (self._mirrored & {*weights, "*"}) and node in self.errors.parts.owner:
            sources = tuple(node.all_input_nodes)
            carried = frozenset(source for source in sources if source in self.dataflow.data)
            call = LinearCall(node, sources, carried, self.transport, self.context)
            return Mirrored.apply(call, *(self._read(node, source) for source in sources))  # type: ignore[no-untyped-call]
        if op_name(node) in self._passable and node in self.errors.parts.owner:
            return self._passed(node)
        return self.operate(node, lambda source: self._read(node, source))

    def operate(self, node: fx.Node, read: Callable[[fx.Node], Any]) -> Any:
        """What a node's operator makes of the values that ``read`` gives, with the joint batch's statistics where it normalises by them."""
        if node in self._joint:
            return joint_norm(node, fx.map_arg(node.args, read), self._joint[node], self.transport)
        return self.call(node, read)

    def _passed(self, node: fx.Node) -> Any:
        """An operator that some error passes by."""
        source = node.all_input_nodes[0]

        def run(value: Tensor) -> Any:
            return self.operate(node, lambda other: value if other is source else self._read(node, other))

        return Detour(node, self.transport).run(run, self._read(node, source))

    def _read(self, node: fx.Node, source: fx.Node) -> Any:
        """What a node reads of another: convolutions maps in the step's memory format, wherever it was lost on the way."""
        value = self.value(source)
        if self.layout == "preserve" or not isinstance(value, Tensor):
            return value
        if op_name(node) in CONVOLUTIONS and source in self.dataflow.data:
            return channels_last(value)
        if op_name(node) in STRIDED:
            return like(value, source.meta["val"])
        return value

    @staticmethod
    def call(node: fx.Node, read: Callable[[fx.Node], Any]) -> Any:
        """What a node's operator makes of the values that ``read`` gives for its inputs."""
        args, kwargs = fx.map_arg((node.args, node.kwargs), read)
        with _unfused() if op_name(node) in RECURRENT else nullcontext():
            return INSTEAD.get(node.target, node.target)(*args, **kwargs)

    def phi(self, site: Site, h: Tensor) -> Tensor:
        """The site's activation at another pre-activation."""
        with torch.no_grad():
            return self._activated(site, h)

    def slope(self, site: Site, h: Tensor, vector: Tensor) -> Tensor:
        """``vector * phi'(h)`` at any pre-activation ``h``.

        Raises:
            CreditError: the activation is a random one.
        """
        if not site.phi:
            return vector
        if site.activation in RANDOM:
            raise CreditError(
                f"A plasticity rule asks for the slope of site {site.name!r} ({site.activation}), which draws its slopes anew, so it would be "
                "another one than the forward pass had. Use a rule without it, as Hebbian(derivative=False), or an activation "
                "without random numbers."
            )
        at = h.detach().requires_grad_()
        with torch.enable_grad():
            z = self._activated(site, at)
        sloped: Tensor = torch.autograd.grad(z, at, vector)[0]
        return sloped

    def _activated(self, site: Site, h: Tensor) -> Tensor:
        local: dict[fx.Node, Any] = {site.h: h}
        with self.context():
            for node in site.phi:
                local[node] = self.call(node, lambda source: local.get(source, self._values.get(source)))
        value: Tensor = local[site.z]
        return value

    def same_mask(self, node: fx.Node, value: Tensor) -> tuple[Tensor, Tensor]:
        """Dropout of another tensor with the mask that the forward pass drew."""
        probability, mask = float(node.args[1]), self._values[node][1]  # type: ignore[arg-type]
        return value * mask * (1.0 / (1.0 - probability)), mask

    def phi_parameters(self, site: Site) -> list[str]:
        """The activation's own trainable parameters (PReLU)."""
        return phi_parameters(site, self.captured, self.dataflow)

    def weights(self, replaced: Callable[[str], Tensor | None]) -> Callable[[fx.Node], Any]:
        """Values of nodes without data when some parameters are replaced: what a mirror reads instead of a weight."""
        known: dict[fx.Node, Any] = {}

        def read(node: fx.Node) -> Any:
            if node not in known:
                names = parameters_behind(node, self.captured, self.dataflow)
                mirrors = {name: value for name in names if (value := replaced(name)) is not None}
                if not mirrors:
                    known[node] = pytree.tree_map_only(Tensor, torch.detach, self._values[node])
                elif node.op == "placeholder":
                    known[node] = mirrors[names[0]]
                elif node.target is torch.ops.aten.native_dropout.default:
                    known[node] = self.same_mask(node, read(node.all_input_nodes[0]))
                else:
                    known[node] = self.call(node, read)
            return known[node]

        return read


def _unfused() -> AbstractContextManager[Any]:
    """Without oneDNN's fused recurrent layer, whose backward has no trace."""
    return torch.backends.mkldnn.flags(enabled=False)


def _cut(value: Tensor) -> Tensor:
    leaf = value.detach()
    return leaf.requires_grad_() if value.is_floating_point() or value.is_complex() else leaf


def passable(errors: ErrorGraph) -> set[str]:
    """Names of operators that some error passes by: normalisations under Hebbian updates, poolings under up-sampling."""
    rules = errors.rules.values()
    mirrors = [edge.synapse for arriving in errors.edges.values() for edge in arriving] + [rule.synapse for rule in rules]
    names = NORMS if any(rule.update == "hebbian" for rule in rules) else set()
    resampled = any(isinstance(synapse, Mirror) and synapse.upsampling != "unpool" for synapse in mirrors)
    return names | (POOLS.keys() if resampled else set())


def _signs(errors: ErrorGraph) -> bool:
    """Whether some mirror without a tensor of its own (sign symmetry) is in use."""
    rules = errors.rules.values()
    edges = (edge.synapse for arriving in errors.edges.values() for edge in arriving)
    return any(getattr(synapse, "weights", "") == "sign" for synapse in (*edges, *(rule.synapse for rule in rules)))
