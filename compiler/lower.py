"""Lowering: one step traced by make_fx into a flat graph of ATen operators, each annotated with its task."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.fx.traceback as traceback
import torch.utils._pytree as pytree
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from compiler.example import Inputs
from compiler.groupnorm import ask_for_input_gradients
from compiler.plan import Plan
from compiler.reuse import reuse_memory
from compiler.signal import ClassLabels, class_labels
from compiler.simplify import simplify
from compiler.split import split_backward
from compiler.step import Step
from compiler.taskgraph import TaskGraph
from compiler.tasks import task_graph


@dataclass(frozen=True)
class Layout:
    """The order of a traced step's inputs and results.

    Inputs: ``parameters``, ``buffers``, ``synapses`` by name, then the tensors of the model's inputs, then those of the labels.
    Results: loss, output, total discrepancy, ``gradients``, ``error_gradients``, ``new_buffers``, and where the step is probed
    the credit of each of ``credits``.
    """

    parameters: tuple[str, ...]
    buffers: tuple[str, ...]
    synapses: tuple[str, ...]
    gradients: tuple[str, ...] = ()
    error_gradients: tuple[str, ...] = ()
    new_buffers: tuple[str, ...] = ()
    credits: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Lowered:
    """A traced step: ``module(*inputs)`` computes it. ``class_labels``: what to check labels for."""

    module: fx.GraphModule
    layout: Layout
    class_labels: tuple[ClassLabels, ...]
    inputs: Inputs
    labels: Any

    @property
    def device(self) -> torch.device:
        """Where the step computes."""
        return self.inputs.device()

    @cached_property
    def tasks(self) -> TaskGraph:
        """The step's tasks in memory order."""
        return task_graph(self.module.graph)


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
    layout: dict[str, tuple[str, ...]] = {}
    label_leaves, label_spec = pytree.tree_flatten(labels)
    places = [place for place, leaf in enumerate(label_leaves) if isinstance(leaf, Tensor)]
    counts = (len(tensors.parameters), len(tensors.buffers), len(tensors.synapses), len(inputs.tensors()), len(places))

    def step(*flat: Tensor) -> list[Tensor]:
        parameters, buffers, synapses, data, targets = _split(flat, counts)
        bound = _bind(plan, dict(zip(tensors.buffers, buffers, strict=True)), inputs, data)
        leaves = list(label_leaves)
        for place, target in zip(places, targets, strict=True):
            leaves[place] = target
        traced = Step(
            plan, bound, dict(zip(tensors.parameters, parameters, strict=True)), dict(zip(tensors.synapses, synapses, strict=True))
        )
        results = traced.run(pytree.tree_unflatten(leaves, label_spec))
        named = {
            "gradients": results.gradients, "error_gradients": results.error_gradients, "new_buffers": results.buffers,
            "credits": results.credits if probe else {},
        }  # fmt: skip
        layout.update({key: tuple(values) for key, values in named.items()})
        return [
            results.loss.detach(),
            results.output,
            results.discrepancy,
            *(v for values in named.values() for v in values.values()),
        ]

    flat = [*tensors.parameters.values(), *tensors.buffers.values(), *tensors.synapses.values(), *inputs.tensors()]
    flat += [label_leaves[place] for place in places]
    with _differentiable(), traceback.preserve_node_meta():
        flat = [value.clone() if value.is_inference() else value for value in flat]
        module = make_fx(step, tracing_mode="fake", _allow_non_fake_inputs=True)(*flat)
    simplify(module.graph)
    ask_for_input_gradients(module.graph)
    split_backward(module.graph)
    reuse_memory(module.graph)
    module.graph.lint()
    module.recompile()
    placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
    labelled = {node: place for place, node in zip(places, placeholders[sum(counts[:4]) :], strict=True)}
    found = Layout(tuple(tensors.parameters), tuple(tensors.buffers), tuple(tensors.synapses), **layout)
    return Lowered(module, found, tuple(class_labels(module.graph, labelled)), inputs, labels)


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
def _differentiable() -> Iterator[None]:
    """Trace with gradients on, whatever the caller turned off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.inference_mode(False), torch.enable_grad():
            yield
