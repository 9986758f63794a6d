"""Memory formats: in which order a tensor's axes lie in memory, and tensors brought into another order.

Where two operands of an elementwise operator or of a convolution lie in different orders, the operator is several times slower
or copies one of them. So what meets at a site lies in one order, which the model and its input decide.
"""

from typing import Literal

import torch
from torch import Tensor

MemoryLayout = Literal["preserve", "channels_last"]
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def axis_order(value: Tensor) -> tuple[int, ...]:
    """The axes from the outermost in memory to the innermost: ``(0, 2, 3, 1)`` for channels_last.

    They are in order where the tensor is contiguous, and also where it does not fill its memory (broadcast or sliced).
    """
    plain = tuple(range(value.dim()))
    if value.is_contiguous():
        return plain
    strides = value.stride()
    for order in ((0, *sorted(plain[1:], key=lambda axis: -strides[axis])), tuple(sorted(plain, key=lambda axis: -strides[axis]))):
        if value.permute(order).is_contiguous():
            return order
    return plain


def map_order(value: Tensor) -> tuple[int, ...]:
    """The order of the axes of maps in channels_last; ``()`` for any other tensor, contiguous or transposed by the model itself."""
    last = (0, *range(2, value.dim()), 1)
    return last if value.dim() in CHANNELS_LAST and axis_order(value) == last else ()


def in_order(value: Tensor, order: tuple[int, ...]) -> Tensor:
    """The same tensor with its axes in that order in memory; itself where they are."""
    lying = value.permute(order)
    return value if lying.is_contiguous() else lying.contiguous().permute(inverse(order))


def like(value: Tensor, model: Tensor) -> Tensor:
    """The same tensor with its axes in memory as ``model``'s are; itself where they are."""
    return in_order(value, axis_order(model))


def inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes ``permute(order)``."""
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def channels_last(value: Tensor) -> Tensor:
    """Maps ``[N, C, H, W]`` and ``[N, C, D, H, W]`` of floats with their channels innermost; any other tensor as it is."""
    layout = CHANNELS_LAST.get(value.dim())
    if layout is None or not value.is_floating_point() or value.shape[2:].numel() == 1:
        return value
    return value.to(memory_format=layout)
