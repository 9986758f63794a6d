"""First weights by choice: their distributions, what they leave alone, and texts that name them."""

import math

import pytest
import torch
from torch import nn

from compiler.errors import EdgeError
from runtime.models import LocallyConnected2d, build_model, draw_weights, parse_init
from wiring import GlorotUniform, KaimingUniform, LikeForward, Normal
from wiring.errors import OptionError


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 20, 3), nn.BatchNorm2d(20), nn.Flatten(), nn.Linear(80, 50))


@pytest.mark.parametrize(
    ("text", "conv", "linear"),
    [
        ("kaiming_uniform", math.sqrt(6 / 27), math.sqrt(6 / 80)),
        ("glorot_uniform", math.sqrt(6 / (27 + 180)), math.sqrt(6 / 130)),
        ("zeros", 0.0, 0.0),
    ],
)
def test_uniform_weights_fill_their_bounds(text: str, conv: float, linear: float) -> None:
    net = model()
    draw_weights(net, text, seeded())
    for name, bound in (("0.weight", conv), ("3.weight", linear)):
        largest = net.get_parameter(name).abs().max().item()
        assert 0.98 * bound <= largest <= bound * (1 + 1e-6)


def test_normal_weights_have_their_standard_deviation() -> None:
    net = model()
    draw_weights(net, Normal(std=0.05), seeded())
    assert net.get_parameter("3.weight").std().item() == pytest.approx(0.05, rel=0.05)


def test_biases_and_batch_norms_stay_and_biases_are_zeroed_on_request() -> None:
    net, before = model(), model()
    draw_weights(net, "zeros", seeded())
    for name in ("0.bias", "1.weight", "1.bias", "3.bias"):
        assert torch.equal(net.get_parameter(name), before.get_parameter(name))
    draw_weights(net, "zeros", seeded(), zero_biases=True)
    assert not any(net.get_parameter(name).any() for name in ("0.bias", "1.bias", "3.bias"))
    assert torch.equal(net.get_parameter("1.weight"), torch.ones(20))


def test_a_submodule_is_drawn_alone() -> None:
    net, before = model(), model()
    draw_weights(net[3], "zeros", seeded())
    assert not net.get_parameter("3.weight").any()
    assert torch.equal(net.get_parameter("0.weight"), before.get_parameter("0.weight"))


def test_the_generator_decides_the_weights() -> None:
    nets = [build_model("ekdaa_fashion", (1, 8, 8), 10).double() for _ in range(2)]
    for net in nets:
        draw_weights(net, GlorotUniform(), seeded())
    assert all(torch.equal(nets[0].get_parameter(name), nets[1].get_parameter(name)) for name in ("conv3.weight", "output.weight"))


@pytest.mark.parametrize(("init", "bound"), [(KaimingUniform(), math.sqrt(6 / 27)), (GlorotUniform(), math.sqrt(6 / (27 + 45)))])
def test_unshared_kernels_have_the_fans_of_a_position(init: KaimingUniform | GlorotUniform, bound: float) -> None:
    layer = LocallyConnected2d(3, 5, 3, (8, 8))
    assert layer.bias is not None
    bias = layer.bias.detach().clone()
    draw_weights(layer, init, seeded())
    assert 0.98 * bound <= layer.weight.abs().max().item() <= bound * (1 + 1e-6)
    assert torch.equal(layer.bias, bias)


def test_texts_name_words() -> None:
    assert parse_init("normal:std=0.05") == Normal(std=0.05)
    assert parse_init("kaiming_uniform") == KaimingUniform()
    assert parse_init("glorot_uniform") == GlorotUniform()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gaussian", r"Initial weights 'gaussian' are not known. Write zeros, kaiming_uniform, glorot_uniform or normal:std=0.05."),
        ("like_forward", r"Initial weights 'like_forward' are not known."),
        ("normal", r"Initial weights 'normal' cannot be drawn \(Normal: std: Field required\). Write zeros, "),
        ("normal:std=-1", r"Initial weights 'normal:std=-1' cannot be drawn \(Normal: std: Input should be greater than 0\)."),
        ("zeros:std=1", r"Initial weights 'zeros:std=1' cannot be drawn \(Zeros: std: Extra inputs are not permitted\)."),
        ("normal:kind=zeros", r"Initial weights 'normal:kind=zeros' cannot be drawn"),
        ("normal:std", r"Option 'std' in 'normal:std' is not of the form key=value."),
    ],
)
def test_a_text_that_names_no_weights_says_what_does(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        draw_weights(model(), text, seeded())


def test_a_word_that_needs_other_weights_cannot_be_drawn() -> None:
    with pytest.raises(EdgeError, match="'like_forward' cannot be drawn"):
        draw_weights(model(), LikeForward(), seeded())
