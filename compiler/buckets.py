"""Updates of one process on their way to the sum over all of them, in buckets as ``DistributedDataParallel`` has them.

A bucket takes updates in the order in which the step finishes them and is launched as soon as it is full: whatever the step
computes from there on runs while it travels. What is full depends on the model alone, so all ranks, whatever their shard's
size, send the same buckets in the same order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from compiler.collectives import arrived, launched_sum
from compiler.formats import axis_order, inverse
from compiler.joint import Joint
from compiler.tracing import task
from compiler.world import FIRST


@dataclass(eq=False)
class Bucket:
    """Updates of one dtype and one weighting, flat and one behind the other.

    ``summed``: they are sums over the batch, not means.
    """

    summed: bool
    number: int = -1
    names: list[str] = field(default_factory=list)
    parts: list[Tensor] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    launched: Tensor | None = None
    arrived: Sequence[Tensor] = ()

    @property
    def bytes(self) -> int:
        return sum(part.nbytes for part in self.parts)


class Buckets:
    """The buckets of a step that is being traced. ``sent``: the names of what each bucket holds, in the order of launching."""

    def __init__(self, joint: Joint) -> None:
        self._joint = joint
        self._open: dict[tuple[torch.dtype, bool], Bucket] = {}
        self._waiting: list[tuple[Bucket, int, str, Tensor, Callable[[Tensor], None]]] = []
        self.sent: list[tuple[str, ...]] = []

    def add(self, name: str, value: Tensor, like: Tensor, summed: bool, then: Callable[[Tensor], None]) -> None:
        """Put ``value`` into the open bucket of its kind, and launch that where it is full.

        Arguments:
            name: of the task that ``then`` belongs to.
            like: a tensor of the shape of ``value``; what arrives has its dtype and memory format.
            summed: ``value`` is a sum over the shard, not a mean.
            then: what ``settle`` does with the sum over all processes.
        """
        bucket = self._open.setdefault((like.dtype, summed), Bucket(summed))
        self._waiting.append((bucket, len(bucket.parts), name, like, then))
        with task(f"reduce:{name}"):
            bucket.parts.append(value.detach().to(like.dtype).permute(axis_order(like)).reshape(-1))
        bucket.names.append(name)
        full = self._joint.world.bucket_bytes
        if bucket.bytes >= (full if self.sent else min(FIRST, full)):
            self._launch(self._open.pop((like.dtype, summed)))

    def settle(self) -> None:
        """Launch what is not full, since nothing more will come; wait for everything in the order of launching, and hand it on."""
        for bucket in self._open.values():
            self._launch(bucket)
        for bucket, part, name, like, then in sorted(self._waiting, key=lambda one: one[0].number):
            order = axis_order(like)
            with task(f"arrive:{bucket.number}"):
                total = self._parts(bucket)[part].view([like.shape[axis] for axis in order]).permute(inverse(order))
            with task(name):
                then(total)

    def _parts(self, bucket: Bucket) -> Sequence[Tensor]:
        if not bucket.arrived:
            assert bucket.launched is not None, "a bucket is launched before it is waited for"
            bucket.arrived = torch.split(arrived(bucket.launched), bucket.sizes)
        return bucket.arrived

    def _launch(self, bucket: Bucket) -> None:
        bucket.number = len(self.sent)
        self.sent.append(tuple(bucket.names))
        weight = self._joint.weight(bucket.summed)
        with task(f"reduce:{bucket.number}"):
            whole = torch.cat(bucket.parts) if len(bucket.parts) > 1 else bucket.parts[0]
            bucket.launched = launched_sum(whole * weight, self._joint.world)
        bucket.sizes = [part.numel() for part in bucket.parts]
        bucket.parts = []
