"""The transmission operators: how an edge's synapse carries an error from its sender's shape to its receiver's.

Legend: N batch, C channels, P positions (one or more axes), S source units, U receiver units a sample. A *map* is a site's
tensor as ``[N, C, *P]``; a *vector* has no positions. One signature, looked up by the spec's class; register your own with
``@operator(MySynapse)``.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from compiler.bypass import resample
from compiler.errors import EdgeError
from compiler.formats import inverse
from compiler.registration import Registry
from compiler.relay import Relay
from wiring import ByShape, Channelwise, Dense, GlorotUniform, KaimingUniform, Kernel, Normal, Pointwise, Sparse, Zeros
from wiring.spec import Init, Synapse

LARGEST = 2**30


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


class Operator(Protocol):
    """What a synapse class needs: the shape of ``E``, its first values, and the transmission ``d = T(E, e)``, linear in ``e``.

    The error comes and goes in one scale, which is not that of one sample: see ``compiler.relay`` for transmissions that are not linear.

    A ``d`` whose axes lie in another order than the target's is copied into it by the step; ``target.order`` tells how to save that.
    """

    def shape(self, spec: Any, source: Port, target: Port) -> tuple[int, ...]: ...

    def start(self, spec: Any, shape: tuple[int, ...], source: Port, generator: torch.Generator) -> Tensor: ...

    def transmit(self, spec: Any, synapse: Tensor, error: Tensor, source: Port, target: Port) -> Tensor: ...


OPERATORS: Registry[Operator | Relay] = Registry("Synapse", "an operator", EdgeError)
Class = TypeVar("Class", bound=type)


def operator(spec: type[Synapse]) -> Callable[[Class], Class]:
    """Register a transmission operator for a synapse class.

    Raises:
        EdgeError: the class has an operator already.
    """

    def register(cls: Class) -> Class:
        OPERATORS.register(spec, cls())
        return cls

    return register


def find_operator(spec: Synapse) -> Operator | Relay:
    owner = OPERATORS.owner(spec)
    if owner is None:
        raise EdgeError(
            f"Synapse {type(spec).__name__} has no transmission operator. Register one with @operator({type(spec).__name__})."
        )
    return OPERATORS[owner]


def by_shape(spec: Synapse, source: Port, target: Port) -> Synapse:
    """The synapse that a ``ByShape`` picks for these ends; any other spec as it is."""
    while isinstance(spec, ByShape):
        spec = spec.maps if source.is_map and target.is_map else spec.vectors
    return spec


def draw(init: Init, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """First values of a synapse, as float32 on the CPU."""
    value = torch.empty(shape)
    stored = value if value.dim() > 1 else value.unsqueeze(0)
    if isinstance(init, KaimingUniform):
        torch.nn.init.kaiming_uniform_(stored, generator=generator)
    elif isinstance(init, GlorotUniform):
        torch.nn.init.xavier_uniform_(stored, generator=generator)
    elif isinstance(init, Normal):
        value.normal_(0.0, init.std, generator=generator)
    elif isinstance(init, Zeros):
        value.zero_()
    else:
        raise EdgeError(f"Init {init.kind!r} cannot be drawn. Use KaimingUniform(), GlorotUniform(), Normal(std=...) or Zeros().")
    return value


def bound(init: Init, weight: Tensor) -> float:
    """The bound ``b`` of the distribution ``U(-b, b)`` that ``draw`` takes values in a weight's shape from; ``b / 2`` is their mean magnitude.

    Raises:
        EdgeError: the distribution has none.
    """
    fan_in, fan_out = torch.nn.init._calculate_fan_in_and_fan_out(weight)
    if isinstance(init, KaimingUniform):
        return float((6.0 / fan_in) ** 0.5)
    if isinstance(init, GlorotUniform):
        return float((6.0 / (fan_in + fan_out)) ** 0.5)
    raise EdgeError(
        f"Init {init.kind!r} has no bound, to which magnitudes that are 'constant' or 'fresh' keep (Mirror(weights='sign')). "
        "Use init=KaimingUniform() or GlorotUniform(), or magnitude='fixed', which is drawn once from any."
    )


@operator(Dense)
class DenseOperator:
    """``d[N, U] = e[N, S] B[S, U]``; between maps whose channels lie innermost the smaller factor is brought into their order."""

    def shape(self, spec: Dense, source: Port, target: Port) -> tuple[int, ...]:
        shape = (source.units, *target.unit_shape)
        if math.prod(shape) > LARGEST:
            raise EdgeError(
                f"A dense synapse from {source.site!r} to {target.site!r} would hold {math.prod(shape):,} numbers. "
                "Use Pointwise() or Kernel(), or ByShape(maps=Pointwise())."
            )
        return shape

    def start(self, spec: Dense, shape: tuple[int, ...], source: Port, generator: torch.Generator) -> Tensor:
        return draw(spec.init, shape, generator)

    def transmit(self, spec: Dense, synapse: Tensor, error: Tensor, source: Port, target: Port) -> Tensor:
        by_rows = bool(source.order) and target.units < source.batch
        by_columns = bool(target.order) and source.units <= target.batch
        rows = source.to_rows(error) if by_rows else error.reshape(source.batch, source.units)
        matrix = synapse.reshape(source.units, target.units)
        matrix = source.as_lying(matrix.t()).t() if by_rows else matrix
        arrived = rows @ (target.as_lying(matrix) if by_columns else matrix)
        return target.from_rows(arrived) if by_columns else arrived.reshape(target.shape)


@operator(Sparse)
class SparseOperator(DenseOperator):
    """Dense with zeros; learning keeps the zeros, since the transmission masks them."""

    def shape(self, spec: Sparse, source: Port, target: Port) -> tuple[int, ...]:  # type: ignore[override]
        if spec.fan_in > source.units:
            raise EdgeError(
                f"A sparse synapse from {source.site!r} wants fan_in={spec.fan_in}, but the sender has only {source.units} units. "
                f"Use fan_in <= {source.units}."
            )
        return super().shape(spec, source, target)  # type: ignore[arg-type]

    def start(self, spec: Sparse, shape: tuple[int, ...], source: Port, generator: torch.Generator) -> Tensor:  # type: ignore[override]
        dense = draw(spec.init, shape, generator).reshape(source.units, -1)
        kept = torch.rand(dense.shape, generator=generator).topk(spec.fan_in, dim=0).indices
        return torch.zeros_like(dense).scatter(0, kept, dense.gather(0, kept)).reshape(shape)

    def transmit(self, spec: Sparse, synapse: Tensor, error: Tensor, source: Port, target: Port) -> Tensor:  # type: ignore[override]
        mask = (synapse.detach() != 0).to(synapse.dtype)
        return super().transmit(spec, synapse * mask, error, source, target)  # type: ignore[arg-type]


def fitted(value: Tensor, positions: tuple[int, ...], upsampling: str) -> Tensor:
    """``[N, C, *P]`` -> ``[N, C, *positions]``, resampled where sizes differ; along one axis where ranks differ."""
    if tuple(value.shape[2:]) == positions:
        return value
    if value.dim() - 2 != len(positions) or len(positions) > 3:
        return resample(value.flatten(2), (math.prod(positions),), upsampling).reshape(*value.shape[:2], *positions)
    return resample(value, positions, upsampling)


@operator(Kernel)
class KernelOperator:
    """``d[N, C_target, *P] = fitted(conv(e[N, C_source, *P'], E[C_target, C_source, k, ...]))``."""

    def shape(self, spec: Kernel, source: Port, target: Port) -> tuple[int, ...]:
        return (target.channels, source.channels, *[spec.size] * min(len(source.positions), 3))

    def start(self, spec: Kernel, shape: tuple[int, ...], source: Port, generator: torch.Generator) -> Tensor:
        return draw(spec.init, shape, generator)

    def transmit(self, spec: Kernel, synapse: Tensor, error: Tensor, source: Port, target: Port) -> Tensor:
        carried = source.to_map(error)
        dims = synapse.dim() - 2
        if carried.dim() - 2 > dims:
            carried = carried.flatten(2 + dims - 1)
        convolve = (F.conv1d, F.conv2d, F.conv3d)[dims - 1]
        arrived = convolve(carried, synapse, padding=synapse.shape[-1] // 2)
        return target.from_map(fitted(arrived, target.positions, spec.upsampling))


@operator(Pointwise)
class PointwiseOperator(KernelOperator):
    """A kernel of size 1, stored as ``E[C_target, C_source]``."""

    def shape(self, spec: Pointwise, source: Port, target: Port) -> tuple[int, ...]:  # type: ignore[override]
        return (target.channels, source.channels)

    def transmit(self, spec: Pointwise, synapse: Tensor, error: Tensor, source: Port, target: Port) -> Tensor:  # type: ignore[override]
        kernel = synapse.reshape(*synapse.shape, *[1] * min(len(source.positions), 3))
        return super().transmit(spec, kernel, error, source, target)  # type: ignore[arg-type]


@operator(Channelwise)
class ChannelwiseOperator:
    """``d[N, C, *P] = E[C] * fitted(e[N, C, *P'])``."""

    def shape(self, spec: Channelwise, source: Port, target: Port) -> tuple[int, ...]:
        if source.channels != target.channels:
            raise EdgeError(
                f"A channelwise synapse cannot carry {source.channels} channels of {source.site!r} to {target.channels} of {target.site!r}. "
                "Use Pointwise(), which mixes channels."
            )
        return (source.channels,)

    def start(self, spec: Channelwise, shape: tuple[int, ...], source: Port, generator: torch.Generator) -> Tensor:
        return draw(spec.init, shape, generator)

    def transmit(self, spec: Channelwise, synapse: Tensor, error: Tensor, source: Port, target: Port) -> Tensor:
        carried = fitted(source.to_map(error), target.positions, spec.upsampling)
        return target.from_map(carried * synapse.reshape(1, -1, *[1] * (carried.dim() - 2)))
