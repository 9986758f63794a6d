"""Lowering: one step traced by make_fx into a flat graph of ATen operators, each annotated with its task."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.fx.traceback as traceback
import torch.utils._pytree as pytree
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from compiler.example import Inputs
from compiler.groupnorm import ask_for_input_gradients
from compiler.halves import Half, cut
from compiler.joint import samples_input
from compiler.lowered import Halves, Layout, Lowered
from compiler.plan import Plan
from compiler.products import batch_products
from compiler.reuse import reuse_memory
from compiler.signal import class_labels
from compiler.simplify import simplify
from compiler.split import split_backward
from compiler.step import Step


@dataclass(frozen=True)
class Tensors:
    """The values (real or fake) that a step starts from, by name."""

    parameters: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    synapses: Mapping[str, Tensor]


def lower(plan: Plan, tensors: Tensors, inputs: Inputs, labels: Any, probe: bool = False) -> Lowered:
    """Trace one step. ``probe`` keeps each site's credit as a result.

    Raises:
        LossError, LabelError, EdgeError, CreditError: what only the trace can see.
    """
    module, layout = _traced(plan, tensors, inputs, labels, probe)
    reuse_memory(module.graph)
    module.graph.lint()
    module.recompile()
    placeholders = module.graph.find_nodes(op="placeholder")
    places = [place for place, leaf in enumerate(pytree.tree_leaves(labels)) if isinstance(leaf, Tensor)]
    end = len(placeholders) - (plan.world is not None)
    labelled = {node: place for place, node in zip(places, placeholders[end - len(places) : end], strict=True)}
    return Lowered(module, layout, tuple(class_labels(module.graph, labelled)), inputs, labels, plan.batch, plan.world)


def lower_halves(plan: Plan, tensors: Tensors, inputs: Inputs, labels: tuple[Tensor, Tensor]) -> Halves:
    """Trace one step whose loss is outside, and cut it at the output. ``labels``: as ``Outside`` reads them.

    Raises:
        EdgeError, CreditError: what only the trace can see.
    """
    module, layout = _traced(plan, tensors, inputs, labels, probe=False)
    found = cut(module.graph, layout)
    names = (*layout.parameters, *layout.buffers, *layout.synapses)
    ahead, behind = (_half(module, part, names, inputs) for part in (found.forward, found.backward))
    return Halves(ahead, behind, found.forward.takes, found.backward.takes, layout, plan.batch)


def _half(module: fx.GraphModule, part: Half, names: tuple[str, ...], inputs: Inputs) -> Lowered:
    reuse_memory(part.graph)
    part.graph.lint()
    state = tuple(names[place] for place in part.takes if place < len(names))
    return Lowered(fx.GraphModule(module, part.graph), Layout(state, (), ()), (), inputs, None)


def _traced(plan: Plan, tensors: Tensors, inputs: Inputs, labels: Any, probe: bool) -> tuple[fx.GraphModule, Layout]:
    """One step as a flat graph, simplified, with independent results apart; nothing works in place yet."""
    layout: dict[str, tuple[Any, ...]] = {}
    label_leaves, label_spec = pytree.tree_flatten(labels)
    places = [place for place, leaf in enumerate(label_leaves) if isinstance(leaf, Tensor)]
    counts = (len(tensors.parameters), len(tensors.buffers), len(tensors.synapses), len(inputs.tensors()), len(places))
    world = [] if plan.world is None else [samples_input(plan.batch, inputs.device())]

    def step(*flat: Tensor) -> list[Tensor]:
        parameters, buffers, synapses, data, targets, samples = _split(flat, (*counts, len(world)))
        bound = _bind(plan, dict(zip(tensors.buffers, buffers, strict=True)), inputs, data)
        leaves = list(label_leaves)
        for place, target in zip(places, targets, strict=True):
            leaves[place] = target
        traced = Step(
            plan, bound, dict(zip(tensors.parameters, parameters, strict=True)), dict(zip(tensors.synapses, synapses, strict=True)),
            *samples,
        )  # fmt: skip
        results = traced.run(pytree.tree_unflatten(leaves, label_spec))
        named = {
            "gradients": results.gradients, "error_gradients": results.error_gradients, "new_buffers": results.buffers,
            "credits": results.credits if probe else {},
        }  # fmt: skip
        layout.update({key: tuple(values) for key, values in named.items()})
        layout["sums"] = () if traced.updates.buckets is None else tuple(traced.updates.buckets.sent)
        return [
            results.loss.detach(),
            results.output,
            results.discrepancy,
            *(v for values in named.values() for v in values.values()),
        ]

    flat = [*tensors.parameters.values(), *tensors.buffers.values(), *tensors.synapses.values(), *inputs.tensors()]
    flat += [*(label_leaves[place] for place in places), *world]
    with _differentiable(inputs.device()), traceback.preserve_node_meta():
        flat = [value.clone() if value.is_inference() else value for value in flat]
        module = make_fx(step, tracing_mode="fake", _allow_non_fake_inputs=True)(*flat)
    simplify(module.graph)
    ask_for_input_gradients(module.graph)
    split_backward(module.graph)
    batch_products(module.graph)
    return module, Layout(tuple(tensors.parameters), tuple(tensors.buffers), tuple(tensors.synapses), **layout)


def _split(flat: tuple[Tensor, ...], counts: tuple[int, ...]) -> list[tuple[Tensor, ...]]:
    parts, start = [], 0
    for count in counts:
        parts.append(flat[start : start + count])
        start += count
    return parts


def _bind(plan: Plan, buffers: Mapping[str, Tensor], inputs: Inputs, data: tuple[Tensor, ...]) -> dict[fx.Node, Any]:
    """Values for the captured graph's placeholders, parameters excepted."""
    tensors, leaves = iter(data), iter(inputs.leaves())
    bound: dict[fx.Node, Any] = {}
    for node, (kind, name) in plan.captured.inputs.items():
        if kind == "buffer":
            bound[node] = buffers[name]
        elif kind == "constant":
            bound[node] = plan.captured.constants[name]
        elif kind == "user":
            leaf = next(leaves)
            bound[node] = next(tensors) if isinstance(leaf, Tensor) else leaf
    return bound


@contextmanager
def _differentiable(device: torch.device) -> Iterator[None]:
    """Trace with gradients on, whatever the caller turned off, and with no autocast but the plan's, whatever is in force around it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
            yield
