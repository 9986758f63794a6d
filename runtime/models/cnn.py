"""The plain convolutional network."""

from torch import nn

from runtime.models.parts import image_shape
from runtime.models.plain import Convolution, plain_network


def cnn(input_shape: tuple[int, ...], classes: int, width: int = 16, depth: int = 3, activation: str = "relu") -> nn.Sequential:
    """``depth`` blocks of convolution, batch norm, activation and 2x2 max-pooling, then a linear output layer.

    Block ``k`` has ``width * 2**(k - 1)`` channels; its modules are called ``convk``, ``normk``, ``actk``, ``poolk``.

    Args:
        input_shape: ``(C, H, W)`` of one image; each block halves height and width.
        classes: number of outputs.

    Returns:
        A module from ``[N, C, H, W]`` to ``[N, classes]``.

    Raises:
        ValueError: unknown activation, inputs that are not images, or more blocks than the image can be halved.
    """
    _, height, breadth = image_shape(input_shape)
    if min(height, breadth) < 2**depth:
        raise ValueError(
            f"its {depth} poolings need images of at least {2**depth}x{2**depth} pixels, not {height}x{breadth}; "
            f"use a smaller depth"
        )
    blocks = [Convolution(width * 2**block, pool=True, bias=False) for block in range(depth)]
    return plain_network(input_shape, classes, blocks, (), activation, norm=True)
