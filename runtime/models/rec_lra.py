"""The networks of rec-LRA (Ororbia, Mali, Kifer, Giles 2020, 2023)."""

import math
from collections import OrderedDict
from typing import Literal

import torch
from torch import Tensor, nn

from runtime.models.activation import activation_named
from runtime.models.layers import PseudoConv2d
from runtime.models.mlp import mlp
from runtime.models.parts import he_init
from runtime.models.resnet import imagenet_resnet


def rec_lra_mlp(
    input_shape: tuple[int, ...], classes: int, width: int = 256, depth: int = 5, activation: str = "tanh"
) -> nn.Sequential:
    """rec-LRA's MLP: 5 hidden layers of 256 tanh, relu, elu or sign units; an ``mlp`` with other defaults.

    Raises:
        ValueError: unknown activation.
    """
    return mlp(input_shape, classes, width, depth, activation)


class ResidualLayer(nn.Module):
    """``z = phi(W x + b + x)``: ``[N, width]`` to ``[N, width]``."""

    def __init__(self, width: int, activation: str) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.act = activation_named(activation)

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.act(self.linear(x) + x)
        return z


def rec_lra_residual_mlp(
    input_shape: tuple[int, ...], classes: int, width: int = 256, depth: int = 8, activation: str = "relu"
) -> nn.Sequential:
    """rec-LRA's residual MLP of the figure on angles: 8 layers of 256 ReLU units, all but the first with a shortcut.

    Where the paper puts the shortcut is not known here: it adds a layer's input to its pre-activation, as residual networks do.
    The modules are called ``flatten``, ``hidden1``, ``act1``, ``block2``, ``block3``, ..., ``output``.

    Raises:
        ValueError: unknown activation.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    layers["hidden1"] = nn.Linear(math.prod(input_shape), width)
    layers["act1"] = activation_named(activation)
    for number in range(2, depth + 1):
        layers[f"block{number}"] = ResidualLayer(width, activation)
    layers["output"] = nn.Linear(width, classes)
    return nn.Sequential(layers)


def rec_lra_resnet18(
    input_shape: tuple[int, ...],
    classes: int,
    layer: Literal["conv", "pseudo_conv"] = "conv",
    width: int = 64,
    masks: int = 1,
    std: float = 0.1,
) -> nn.Module:
    """rec-LRA's ResNet-18: ``resnet18``, with pseudo-convolutions in its blocks on request.

    ``layer="pseudo_conv"`` puts a ``PseudoConv2d`` with ``masks`` noise maps a channel of standard deviation ``std`` in the place
    of each 3x3 convolution of a block. The stem and the 1x1 projections of the shortcuts stay convolutions, as in Juefei-Xu et
    al. (2018). The paper's ``masks`` and ``std`` are not known here; these are ours. The inner ReLUs of these layers are kept inside by the wiring's
    ``Sites(exclude=("*.rectifier",))``.

    Raises:
        ValueError: inputs that are not images.
    """
    model = imagenet_resnet(18)(input_shape, classes, width)
    if layer == "pseudo_conv":
        _replace_convolutions(model, input_shape, std, masks)
        he_init(model)
    return model


def _replace_convolutions(model: nn.Module, input_shape: tuple[int, ...], std: float, masks: int) -> None:
    """A pseudo-convolution without bias in the place of each 3x3 convolution inside a block."""
    for name, (conv, size) in _inner_convolutions(model, input_shape).items():
        pseudo = PseudoConv2d(conv.in_channels, conv.out_channels, size, std, masks, conv.stride[0], bias=False)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, pseudo)


def _inner_convolutions(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, tuple[nn.Conv2d, tuple[int, int]]]:
    """The 3x3 convolutions inside submodules by name, each with ``(H, W)`` of what it reads, seen in one forward pass."""
    sizes: dict[nn.Module, tuple[int, int]] = {}

    def see(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        _, _, height, width = inputs[0].shape
        sizes[module] = (height, width)

    inner = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3) and "." in name
    }
    hooks = [module.register_forward_pre_hook(see) for module in inner.values()]
    training, device = model.training, next(model.parameters()).device
    with torch.no_grad():
        model.eval()(torch.zeros(1, *input_shape, device=device))
    model.train(training)
    for hook in hooks:
        hook.remove()
    return {name: (module, sizes[module]) for name, module in inner.items()}
