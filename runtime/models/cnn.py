"""The plain convolutional network."""

from collections import OrderedDict

from torch import nn

from runtime.models.parts import activation as activation_named
from runtime.models.parts import conv3x3, image_shape


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
    channels, height, breadth = image_shape(input_shape)
    if min(height, breadth) < 2**depth:
        raise ValueError(
            f"its {depth} poolings need images of at least {2**depth}x{2**depth} pixels, not {height}x{breadth}; "
            f"use a smaller depth"
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for block in range(1, depth + 1):
        wider = width * 2 ** (block - 1)
        layers[f"conv{block}"] = conv3x3(channels, wider)
        layers[f"norm{block}"] = nn.BatchNorm2d(wider)
        layers[f"act{block}"] = activation_named(activation)
        layers[f"pool{block}"] = nn.MaxPool2d(2)
        channels = wider
    layers["flatten"] = nn.Flatten()
    layers["output"] = nn.Linear(channels * (height // 2**depth) * (breadth // 2**depth), classes)
    return nn.Sequential(layers)
