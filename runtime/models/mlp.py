"""The multilayer perceptron."""

import math
from collections import OrderedDict

from torch import nn

from runtime.models.activation import activation_named
from runtime.models.parts import dropout as dropout_of


def mlp(
    input_shape: tuple[int, ...], classes: int, width: int = 128, depth: int = 3, activation: str = "tanh", dropout: float = 0.0
) -> nn.Sequential:
    """Flatten, ``depth`` hidden layers of ``width`` units each followed by ``activation``, and a linear output layer.

    The modules are called ``flatten``, ``hidden1``, ``act1``, ``hidden2``, ..., ``output``. With ``dropout``, the probability
    that an entry is set to zero, every linear layer reads through one: ``drop0`` behind ``flatten``, ``drop1`` behind ``act1``, ...

    Args:
        input_shape: shape of one input without the batch, of any rank.
        classes: number of outputs.

    Returns:
        A module from ``[N, *input_shape]`` to ``[N, classes]``.

    Raises:
        ValueError: unknown activation, or ``dropout`` is not in [0, 1).
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    features = math.prod(input_shape)
    for number in range(1, depth + 1):
        if dropout:
            layers[f"drop{number - 1}"] = dropout_of(dropout)
        layers[f"hidden{number}"] = nn.Linear(features, width)
        layers[f"act{number}"] = activation_named(activation)
        features = width
    if dropout:
        layers[f"drop{depth}"] = dropout_of(dropout)
    layers["output"] = nn.Linear(features, classes)
    return nn.Sequential(layers)
