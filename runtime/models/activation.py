"""Activations by name, and the one that torch has only as a function."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Sign(nn.Module):
    """``sign(x)``, elementwise, 0 at 0: signum units. Its derivative is zero almost everywhere, so it wants target credit."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sign(x)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "softplus": nn.Softplus,
    "sign": Sign,
    "identity": nn.Identity,
}


def activation_named(name: str) -> nn.Module:
    """A new activation module.

    Raises:
        ValueError: no activation has this name.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation {name!r} is not known; the known ones are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()
