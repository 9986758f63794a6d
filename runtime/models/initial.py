"""Initial forward weights as a choice: redrawn in place from one distribution, which a text can name."""

import torch
from torch import Tensor, nn

from compiler.initial import draw
from runtime.models.layers import LocallyConnected2d
from wiring.errors import OptionError
from wiring.record import InvalidWiring
from wiring.spec import Init
from wiring.text import parse_call

CHOICES = "zeros, kaiming_uniform, glorot_uniform or normal:std=0.05"


def parse_init(text: str) -> Init:
    """The distribution that ``text`` names: ``zeros``, ``kaiming_uniform``, ``glorot_uniform`` or ``normal:std=0.05``.

    Raises:
        OptionError: no such distribution, or options that it does not take or that it lacks.
    """
    name, options = parse_call(text)
    if name not in Init.words() or name == "like_forward":
        raise OptionError(f"Initial weights {text!r} are not known. Write {CHOICES}.")
    try:
        return Init.word(name)(**options)
    except InvalidWiring as problem:
        raise OptionError(f"Initial weights {text!r} cannot be drawn ({problem}). Write {CHOICES}.") from problem


def draw_weights(model: nn.Module, init: Init | str, generator: torch.Generator, zero_biases: bool = False) -> None:
    """Redraw, in place, every parameter of two or more axes that is no bias; give a submodule to redraw only its own.

    Fans are counted as torch counts them from a weight's shape, for a ``LocallyConnected2d`` at each position. What has fewer
    axes, such as the scales of a batch norm, stays.

    Args:
        init: the distribution, or the text that names it.
        generator: draws on the CPU, parameter after parameter in the order of ``model.modules()``.
        zero_biases: set biases to zero as well; otherwise they stay. (DRTP's code zeroes dense weights and keeps biases.)

    Raises:
        OptionError: ``init`` is a text that names no distribution.
        EdgeError: ``init`` is a word that cannot be drawn, such as ``LikeForward()``.
    """
    word = parse_init(init) if isinstance(init, str) else init
    with torch.no_grad():
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if "bias" in name:
                    if zero_biases:
                        parameter.zero_()
                elif parameter.dim() > 1:
                    parameter.copy_(_first_values(word, module, parameter, generator))


def _first_values(init: Init, module: nn.Module, weight: Tensor, generator: torch.Generator) -> Tensor:
    if not isinstance(module, LocallyConnected2d):
        return draw(init, tuple(weight.shape), generator)
    kernels = torch.split(weight, module.out_channels)
    return torch.cat([draw(init, tuple(kernel.shape), generator) for kernel in kernels])
