"""The multilayer perceptron."""

import math
from collections import OrderedDict

from torch import nn

from runtime.models.parts import activation as activation_named


def mlp(input_shape: tuple[int, ...], classes: int, width: int = 128, depth: int = 3, activation: str = "tanh") -> nn.Sequential:
    """Flatten, ``depth`` hidden layers of ``width`` units each followed by ``activation``, and a linear output layer.

    The modules are called ``flatten``, ``hidden1``, ``act1``, ``hidden2``, ..., ``output``.

    Args:
        input_shape: shape of one input without the batch, of any rank.
        classes: number of outputs.

    Returns:
        A module from ``[N, *input_shape]`` to ``[N, classes]``.

    Raises:
        ValueError: unknown activation.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    features = math.prod(input_shape)
    for number in range(1, depth + 1):
        layers[f"hidden{number}"] = nn.Linear(features, width)
        layers[f"act{number}"] = activation_named(activation)
        features = width
    layers["output"] = nn.Linear(features, classes)
    return nn.Sequential(layers)
