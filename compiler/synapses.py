"""The transmission operators: how an edge's synapse carries an error from its sender's shape to its receiver's.

Legend: N batch, C channels, P positions (one or more axes), S source units, U receiver units a sample. A *map* is a site's
tensor as ``[N, C, *P]``; a *vector* has no positions. One signature, looked up by the spec's class; register your own with
``@operator(MySynapse)``.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from compiler.bypass import resample
from compiler.errors import EdgeError
from compiler.initial import draw
from compiler.port import Port
from compiler.registration import Registry
from compiler.relay import Relay
from wiring import ByShape, Channelwise, Dense, Kernel, Pointwise, Sparse
from wiring.spec import Synapse

LARGEST = 2**30


class Operator(Protocol):
    """What a synapse class needs: the shape of ``E``, its first values, and the transmission ``d = T(E, e)``, linear in ``e``.

    The error comes and goes in one scale, which is not that of one sample: see ``compiler.relay`` for transmissions that are not linear.

    A ``d`` whose axes lie in another order than the target's is copied into it by the step; ``target.order`` tells how to save that.
    """

    def shape(self, spec: Any, source: Port, target: Port) -> tuple[int, ...]: ...

    def start(self, spec: Any, shape: tuple[int, ...], source: Port, generator: torch.Generator) -> Tensor: ...

    def transmit(self, spec: Any, synapse: Tensor, error: Tensor, source: Port, target: Port) -> Tensor: ...


OPERATORS: Registry[Operator | Relay] = Registry("Synapse", "transmission operator", ["operator"], EdgeError)
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
    """What transmits over a synapse.

    Raises:
        EdgeError: its class has no operator.
    """
    return OPERATORS.find(spec)


def by_shape(spec: Synapse, source: Port, target: Port) -> Synapse:
    """The synapse that a ``ByShape`` picks for these ends; any other spec as it is."""
    while isinstance(spec, ByShape):
        spec = spec.maps if source.is_map and target.is_map else spec.vectors
    return spec


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
