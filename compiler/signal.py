"""What the output sends: its error, the sign of it, or the target; and what labels must look like for that."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from compiler.dataflow import op_name
from compiler.errors import LabelError

Loss = Callable[[Any, Any], Tensor]


def error_scale(loss: Loss, batch: int) -> float:
    """``N`` for a loss that is a mean, 1 for a sum: the factor from ``dloss/dv`` to the error of one sample."""
    return 1.0 if sums(loss) else float(batch)


def sums(loss: Loss) -> bool:
    """Whether a loss is a sum over the batch, as its ``reduction`` or that of what a ``functools.partial`` calls says; else it is taken for a mean."""
    if isinstance(loss, functools.partial):
        return bool(loss.keywords["reduction"] == "sum") if "reduction" in loss.keywords else sums(loss.func)
    return bool(getattr(loss, "reduction", "mean") == "sum")


def called(loss: Loss) -> Loss:
    """What a loss calls: of a ``functools.partial`` its function."""
    return called(loss.func) if isinstance(loss, functools.partial) else loss


def one_hot(labels: Any, v: Tensor) -> Tensor:
    """The target ``t`` in the shape of ``v``: one-hot rows for class indices, the labels themselves where the shape fits.

    Raises:
        LabelError: the labels are neither.
    """
    if isinstance(labels, Tensor):
        if labels.is_floating_point() and labels.numel() == v.numel():
            return labels.reshape(v.shape).to(v.dtype)
        if not labels.is_floating_point() and v.dim() > 1:
            axis = class_axis(tuple(labels.shape), tuple(v.shape))
            if axis is not None:
                classes = torch.arange(v.shape[axis], device=v.device)
                return (labels.unsqueeze(-1) == classes).to(v.dtype).movedim(-1, axis)
    found = f"{labels.dtype} of shape {list(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
    raise LabelError(
        f"Signal 'target' needs labels that can be one-hot over the output {list(v.shape)}, but they are {found}. "
        "Use class indices [N] as int64, or targets in the output's shape; or another signal."
    )


def class_axis(labels: tuple[int, ...], v: tuple[int, ...]) -> int | None:
    """The axis of an output ``[N, C, ...]`` (as torch's losses read it) or ``[N, ..., C]`` that labels ``[N, ...]`` count along, if any."""
    if labels == (v[0], *v[2:]):
        return 1
    return len(v) - 1 if labels == v[:-1] else None


@dataclass(frozen=True)
class ClassLabels:
    """A label tensor that the loss reads as class indices."""

    leaf: int
    classes: int
    ignored: int

    def check(self, labels: Tensor) -> None:
        """Raises LabelError where an index is out of range."""
        low, high = torch.aminmax(labels)
        if int(low) >= 0 and int(high) < self.classes:
            return
        wrong = labels[((labels < 0) | (labels >= self.classes)) & (labels != self.ignored)]
        if wrong.numel():
            raise LabelError(
                f"Labels hold {int(wrong.flatten()[0])}, but the output has {self.classes} classes, so indices run from 0 to {self.classes - 1} "
                f"(and {self.ignored} to ignore). Shift the labels, or widen the output."
            )


def class_labels(graph: fx.Graph, placeholders: dict[fx.Node, int]) -> list[ClassLabels]:
    """The label tensors (by position among the labels) that a traced loss hands to a negative log-likelihood."""
    found = []
    for node in graph.nodes:
        if node.op == "call_function" and op_name(node) in ("nll_loss_forward", "nll_loss2d_forward"):
            source = node.args[1]
            while isinstance(source, fx.Node) and source.op == "call_function" and source.all_input_nodes:
                source = source.all_input_nodes[0]
            if source in placeholders:
                found.append(ClassLabels(placeholders[source], int(node.args[0].meta["val"].shape[1]), int(node.args[4])))
    return found


def loss_name(loss: Loss) -> str:
    """A loss's name for messages."""
    function = called(loss)
    return type(function).__name__ if isinstance(function, nn.Module) else getattr(function, "__name__", type(function).__name__)
