"""What lowering gives: a traced step, or its two halves around a loss outside, with the order of its inputs and results."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import torch
from torch import fx

from compiler.example import Inputs
from compiler.signal import ClassLabels
from compiler.taskgraph import TaskGraph
from compiler.tasks import task_graph
from compiler.world import World

T = TypeVar("T")


@dataclass(frozen=True)
class ByKind(Generic[T]):
    """What a traced step gives, tensors or the nodes that compute them, each kind in the order of its names in the layout.

    ``updates``: of gradients, then of error gradients.
    """

    loss: T
    output: T
    discrepancy: T
    updates: Sequence[T]
    new_buffers: Sequence[T]
    credits: Sequence[T]


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

    @property
    def taught(self) -> tuple[str, ...]:
        """What the updates belong to."""
        return self.gradients + self.error_gradients

    def by_kind(self, results: Sequence[T]) -> ByKind[T]:
        """A step's results by kind."""
        loss, output, discrepancy, *_ = results
        updates = 3 + len(self.gradients) + len(self.error_gradients)
        buffers = updates + len(self.new_buffers)
        return ByKind(loss, output, discrepancy, results[3:updates], results[updates:buffers], results[buffers:])


def results_of(graph: fx.Graph) -> list[fx.Node]:
    """The nodes that compute a traced step's results."""
    return list(graph.output_node().args[0])  # type: ignore[arg-type]


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
    def results(self) -> ByKind[fx.Node]:
        """The nodes that compute its results, by kind."""
        return self.layout.by_kind(results_of(self.module.graph))

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
        target = self.backward.module.graph.find_nodes(op="placeholder")[-1]
        dtype: torch.dtype = target.meta["val"].dtype
        return dtype

    @cached_property
    def renewed(self) -> frozenset[int]:
        """The places among the step's inputs of the buffers that the forward half renews."""
        return frozenset(len(self.layout.parameters) + self.layout.buffers.index(name) for name in self.layout.new_buffers)
