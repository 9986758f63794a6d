"""Plain convolutional networks from a list of their layers: the form that the papers' networks share."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from runtime.models.activation import activation_named
from runtime.models.parts import dropout, image_shape


@dataclass(frozen=True)
class Convolution:
    """A convolution with a square ``kernel``; ``pool``: 2x2 max-pooling behind its activation, and behind that dropout."""

    channels: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    pool: bool = False
    dropout: float = 0.0
    bias: bool = True

    def size(self, before: int) -> int:
        """Height or width of the maps that it hands on."""
        convolved = (before + 2 * self.padding - self.kernel) // self.stride + 1
        return convolved // 2 if self.pool else convolved


@dataclass(frozen=True)
class Dense:
    """A fully connected layer; ``dropout`` behind its activation."""

    units: int
    dropout: float = 0.0


def plain_network(
    input_shape: tuple[int, ...],
    classes: int,
    convolutions: Sequence[Convolution],
    dense: Sequence[Dense],
    activation: str,
    norm: bool = False,
) -> nn.Sequential:
    """Convolutions, then fully connected layers, then a linear output layer.

    Layer ``k`` consists of ``convk`` or, for the ``j``-th fully connected one, ``fcj``, then ``normk`` with ``norm`` (batch
    norm), ``actk``, ``poolk`` and ``dropk`` where it has them; ``flatten`` stands in front of the vectors, ``output`` at the end.

    Args:
        input_shape: ``(C, H, W)`` of one image.
        classes: number of outputs.

    Returns:
        A module from ``[N, C, H, W]`` to ``[N, classes]``.

    Raises:
        ValueError: unknown activation, a dropout not in [0, 1), inputs that are not images, or images that are too small.
    """
    channels, height, breadth = image_shape(input_shape)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    number = 0
    for number, layer in enumerate(convolutions, start=1):
        layers[f"conv{number}"] = nn.Conv2d(channels, layer.channels, layer.kernel, layer.stride, layer.padding, bias=layer.bias)
        if norm:
            layers[f"norm{number}"] = nn.BatchNorm2d(layer.channels)
        layers[f"act{number}"] = activation_named(activation)
        if layer.pool:
            layers[f"pool{number}"] = nn.MaxPool2d(2)
        if layer.dropout:
            layers[f"drop{number}"] = dropout(layer.dropout)
        channels, height, breadth = layer.channels, layer.size(height), layer.size(breadth)
        if min(height, breadth) < 1:
            raise ValueError(f"nothing is left of such small images behind its convolution {number}; use larger images")
    layers["flatten"] = nn.Flatten()
    features = channels * height * breadth
    for position, hidden in enumerate(dense, start=1):
        layers[f"fc{position}"] = nn.Linear(features, hidden.units)
        if norm:
            layers[f"norm{number + position}"] = nn.BatchNorm1d(hidden.units)
        layers[f"act{number + position}"] = activation_named(activation)
        if hidden.dropout:
            layers[f"drop{number + position}"] = dropout(hidden.dropout)
        features = hidden.units
    layers["output"] = nn.Linear(features, classes)
    return nn.Sequential(layers)
