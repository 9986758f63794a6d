"""What lowering gives: a traced step, or its two halves around a loss outside, with the order of its inputs and results."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import fx

from compiler.example import Inputs
from compiler.signal import ClassLabels
from compiler.taskgraph import TaskGraph
from compiler.tasks import task_graph
from compiler.world import World


@dataclass(frozen=True)
class Layout:
    """The order of a traced step's inputs and results.

    Inputs: ``parameters``, ``buffers``, ``synapses`` by name, then the tensors of the model's inputs, then those of the labels, and in
    a world of several processes the number of samples that this one's shard counts for.
    Results: loss, output, total discrepancy, ``gradients``, ``error_gradients``, ``new_buffers``, and where the step is probed
    the credit of each of ``credits``. ``sums``: in a world, what is summed over the processes, by buckets in the order of launching.
    """

    parameters: tuple[str, ...]
    buffers: tuple[str, ...]
    synapses: tuple[str, ...]
    gradients: tuple[str, ...] = ()
    error_gradients: tuple[str, ...] = ()
    new_buffers: tuple[str, ...] = ()
    credits: tuple[str, ...] = ()
    sums: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, eq=False)
class Lowered:
    """A traced step: ``module(*inputs)`` computes it. ``class_labels``: what to check labels for.

    ``batch``: its ``N``, of this process alone. ``world``: the processes that run it together.
    """

    module: fx.GraphModule
    layout: Layout
    class_labels: tuple[ClassLabels, ...]
    inputs: Inputs
    labels: Any
    batch: int = 0
    world: World | None = None

    @property
    def device(self) -> torch.device:
        """Where the step computes."""
        return self.inputs.device()

    @cached_property
    def tasks(self) -> TaskGraph:
        """The step's tasks in memory order."""
        return task_graph(self.module.graph)


@dataclass(frozen=True, eq=False)
class Halves:
    """A step cut at the model's output, for a loss that is computed outside.

    ``forward``: its inputs are those of the step at the places ``ahead``; results: output, ``new_buffers``, then the saved values.
    ``backward``: inputs at the places ``behind``, the saved values, the output's gradient, the target; results: ``gradients``,
    ``error_gradients``.
    ``layout``: the step's. ``batch``: its ``N``.
    """

    forward: Lowered
    backward: Lowered
    ahead: tuple[int, ...]
    behind: tuple[int, ...]
    layout: Layout
    batch: int

    @cached_property
    def target_dtype(self) -> torch.dtype:
        """Of the target as it was traced: that of the output without mixed precision, as a learner's."""
        placeholders = [node for node in self.backward.module.graph.nodes if node.op == "placeholder"]
        dtype: torch.dtype = placeholders[-1].meta["val"].dtype
        return dtype

    @cached_property
    def renewed(self) -> frozenset[int]:
        """The places among the step's inputs of the buffers that the forward half renews."""
        return frozenset(len(self.layout.parameters) + self.layout.buffers.index(name) for name in self.layout.new_buffers)
