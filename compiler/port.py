"""One end of an error edge: how a site's tensor is read as a map or as rows.

Legend: N batch, C channels, P positions (one or more axes), U units a sample.
"""

import dataclasses
import math
from dataclasses import dataclass

from torch import Tensor

from compiler.formats import inverse


@dataclass(frozen=True)
class Port:
    """One end of an edge: a site's tensor ``[N * k, ...]`` with its channel axis; ``k`` rows belong to each sample.

    ``order``: its axes from the outermost in memory to the innermost, batch first, while a step is traced; none where they lie in order.
    """

    site: str
    shape: tuple[int, ...]
    batch: int
    channel: int
    order: tuple[int, ...] = ()

    def lying(self, order: tuple[int, ...]) -> "Port":
        """The same end with its axes in that order in memory."""
        return dataclasses.replace(self, order=order)

    @property
    def units(self) -> int:
        """Units a sample."""
        return math.prod(self.shape) // self.batch

    @property
    def unit_shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        rows = self.shape[0] // self.batch
        return self.shape[1:] if rows == 1 else (rows, *self.shape[1:])

    @property
    def channels(self) -> int:
        return self.shape[self.channel] if len(self.shape) > 1 else 1

    @property
    def is_map(self) -> bool:
        return self.units > self.channels

    @property
    def positions(self) -> tuple[int, ...]:
        """Sizes of the position axes; ``(1,)`` for a vector."""
        rows = self.shape[0] // self.batch
        space = tuple(size for axis, size in enumerate(self.shape) if axis not in (0, self.channel))
        return (space or (1,)) if rows == 1 else (rows * math.prod(space),)

    def to_map(self, value: Tensor) -> Tensor:
        """``[N * k, ...]`` -> ``[N, C, *P]``."""
        moved = value.movedim(self.channel, 1) if len(self.shape) > 1 else value.unsqueeze(1)
        if self.shape[0] == self.batch:
            return moved.reshape(self.batch, self.channels, *self.positions)
        rows = self.shape[0] // self.batch
        return moved.reshape(self.batch, rows, self.channels, -1).transpose(1, 2).reshape(self.batch, self.channels, -1)

    def from_map(self, value: Tensor) -> Tensor:
        """``[N, C, *P]`` -> the site's own shape."""
        space = [size for axis, size in enumerate(self.shape) if axis not in (0, self.channel)]
        rows = self.shape[0] // self.batch
        if rows > 1:
            value = value.reshape(self.batch, self.channels, rows, -1).transpose(1, 2)
        flat = value.reshape(self.shape[0], self.channels, *space)
        return flat.movedim(1, self.channel).reshape(self.shape)

    def to_rows(self, value: Tensor) -> Tensor:
        """``[N * k, ...]`` -> ``[N, U]``, units as they lie in memory, so that nothing is copied."""
        return value.permute(self.order).reshape(self.batch, self.units)

    def from_rows(self, rows: Tensor) -> Tensor:
        """``[N, U]``, units as they lie in memory -> the site's own shape, nothing copied."""
        return rows.reshape([self.shape[axis] for axis in self.order]).permute(inverse(self.order))

    def as_lying(self, units: Tensor) -> Tensor:
        """``[M, U]`` with the units as they are counted -> as they lie in memory."""
        within = self.order[1:] if self.shape[0] == self.batch else tuple(axis + 1 for axis in self.order)
        return units.reshape(-1, *self.unit_shape).permute(0, *within).reshape(units.shape)
