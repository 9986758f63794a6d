"""The joint batch of all processes, while one process's step is traced: what its shard counts for, and sums over all shards.

Process ``r`` runs ``n_r`` samples, its batch, which count for ``s_r`` (0 where it had to borrow one); ``N`` is the sum of all ``s_r``.
A mean over the joint batch is the sum of the processes' means, each times its *share* ``s_r / N``; a sum over it is the sum of
their sums, each times its *portion* ``s_r / n_r``.
"""

import functools

import torch
from torch import Tensor

from compiler.collectives import arrived, launched_rows, launched_sum
from compiler.tracing import task
from compiler.world import World


class Joint:
    """The joint batch of a world's processes.

    Arguments:
        samples: ``s_r``, 0-dim.
        batch: ``n_r``.
    """

    def __init__(self, world: World, samples: Tensor, batch: int) -> None:
        self.world = world
        self.samples, self.batch = samples, batch
        with task("reduce:samples"):
            self._launched = launched_sum(samples, world)

    @functools.cached_property
    def total(self) -> Tensor:
        """``N``; waited for where it is first read."""
        with task("arrive:samples"):
            return arrived(self._launched)

    @functools.cached_property
    def _weights(self) -> dict[bool, Tensor]:
        with task("arrive:samples"):
            return {False: self.samples / self.total, True: self.samples / self.batch}

    def weight(self, summed: bool) -> Tensor:
        """What this process's number counts for in the sum over all: its share for a mean, its portion where it is ``summed``."""
        return self._weights[summed]

    def turned(self, summed: bool) -> Tensor:
        """The factor that makes a mean of a sum or, ``summed``, a sum of a mean, as far as weights are concerned."""
        with task("arrive:samples"):
            return self.batch / self.total if summed else self.total / self.batch

    def sum(self, value: Tensor) -> Tensor:
        """The sum of every process's ``value``."""
        return arrived(launched_sum(value, self.world))

    def rows(self, value: Tensor) -> Tensor:
        """Every process's ``value`` ``[n]`` as ``[size, n]``."""
        return arrived(launched_rows(value, self.world)).reshape(self.world.size, *value.shape)


def samples_input(count: float, device: torch.device) -> Tensor:
    """The input of a step that says what the process's shard counts for, in a precision that no count exhausts."""
    return torch.tensor(float(count), dtype=torch.float64, device=device)
