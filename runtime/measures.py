"""Loss, accuracy and discrepancy, summed over batches."""

import functools
from dataclasses import dataclass
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor

from compiler import Inputs
from compiler.capture import pick
from compiler.signal import Loss, class_axis, error_scale
from runtime.batches import Batches, pair
from runtime.distributed.peers import ALONE, Peers
from runtime.errors import TrainingError
from runtime.learner import Learner


@dataclass
class Sums:
    """Sums over samples; the means of what has been added so far are properties."""

    samples: int = 0
    loss: float = 0.0
    discrepancy: float = 0.0
    labelled: int = 0
    correct: int = 0

    def add(
        self, source: Loss, loss: Tensor, output: Tensor, labels: Any, discrepancy: Tensor | None = None, samples: int | None = None
    ) -> None:
        """Add a batch.

        Arguments:
            source: the loss function, which says whether ``loss`` is a mean.
            loss: 0-dim. ``output``: ``[N, ...]``. ``labels``: as the loss reads them.
            discrepancy: 0-dim, a mean over the batch.
            samples: how many of ``N`` count, all or none; default: all.
        """
        count = output.shape[0] if samples is None else samples
        if not count:
            return
        self.samples += count
        self.loss += loss.item() * error_scale(source, count)
        if discrepancy is not None:
            self.discrepancy += discrepancy.item() * count
        labelled, correct = hits(output, labels, ignored_label(source))
        self.labelled += labelled
        self.correct += correct

    def over(self, peers: Peers) -> "Sums":
        """The sums of all processes together; each of them calls this."""
        samples, loss, discrepancy, labelled, correct = peers.totals(
            self.samples, self.loss, self.discrepancy, self.labelled, self.correct
        )
        return Sums(int(samples), loss, discrepancy, int(labelled), int(correct))

    @property
    def mean_loss(self) -> float:
        return self.loss / self.samples

    @property
    def mean_discrepancy(self) -> float:
        return self.discrepancy / self.samples

    @property
    def accuracy(self) -> float | None:
        """Right ones among the labels that are class indices, in [0, 1]; ``None`` where there are none."""
        return self.correct / self.labelled if self.labelled else None


def ignored_label(loss: Loss) -> int:
    """The class index that a loss, partial or whole, passes over: its ``ignore_index``, by default torch's -100."""
    if isinstance(loss, functools.partial):
        return int(loss.keywords.get("ignore_index", ignored_label(loss.func)))
    return int(getattr(loss, "ignore_index", -100))


def hits(output: Tensor, labels: Any, ignored: int) -> tuple[int, int]:
    """How many labels there are and how many of them the largest output names; ``(0, 0)`` if they are no class indices.

    Arguments:
        output: ``[N, C]`` or ``[N, C, ...]``, or with the classes last, ``[N, ..., C]``.
        labels: class indices ``[N]`` or ``[N, ...]``, the ``ignored`` ones left out.
    """
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.dtype is torch.bool or output.dim() < 2:
        return 0, 0
    axis = class_axis(tuple(labels.shape), tuple(output.shape))
    if axis is None:
        return 0, 0
    right, counted = output.argmax(axis) == labels, labels != ignored
    return int(counted.sum()), int((right & counted).sum())


@torch.no_grad()
def evaluate(learner: Learner, batches: Batches, peers: Peers = ALONE) -> Sums:
    """Loss and accuracy of ``learner`` over all batches, in evaluation mode, in which it is left.

    Each of several processes passes its own batches, and gets the sums over all of them.

    Raises:
        TrainingError: there is not one batch.
    """
    learner.eval()
    source, sums = learner.program.source, Sums()
    device = device_of(learner)
    for number, batch in enumerate(batches.draw(0)):
        x, y = moved(pair(batch, "test"), device)
        inputs = Inputs.of(x)
        with torch.autocast(device.type, dtype=source.autocast, enabled=source.autocast is not None):
            output = pick(learner(*inputs.args, **inputs.keywords()), source.output)
            loss = source.loss(output, y)
        sums.add(source.loss, loss, output, y, samples=batches.samples(number))
    sums = sums.over(peers)
    if not sums.samples:
        raise TrainingError("The test data has not one batch. Give a loader that starts anew every time.")
    return sums


def device_of(learner: Learner) -> torch.device:
    """Where the learner's parameters lie."""
    return next(learner.parameters()).device


def moved(batch: tuple[Any, Any], device: torch.device) -> tuple[Any, Any]:
    """The batch with every tensor on ``device``."""
    x, y = batch
    if isinstance(x, Tensor) and isinstance(y, Tensor):  # the usual case, without the tree's bookkeeping
        return x.to(device, non_blocking=True), y.to(device, non_blocking=True)
    there: tuple[Any, Any] = pytree.tree_map_only(Tensor, lambda tensor: tensor.to(device, non_blocking=True), (x, y))
    return there
