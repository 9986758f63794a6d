"""The layers of rec-LRA's networks: their formulas, backpropagation against autograd, sites, and wirings that go through them."""

import copy
import functools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import wiring
from compiler import UpdateProgram, compile
from runtime import Learner
from runtime.models import LocallyConnected2d, PseudoConv2d
from wiring import Sites, Wiring

INSIDE = Sites(exclude=("*.rectifier",))


def pseudo() -> nn.Sequential:
    """Two pseudo-convolutions, the second with an odd map halved, and a batch norm."""
    return nn.Sequential(
        PseudoConv2d(2, 4, (7, 7), std=0.5, masks=2),
        nn.BatchNorm2d(4),
        nn.Tanh(),
        PseudoConv2d(4, 3, (7, 7), std=0.5, masks=3, stride=2),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(3 * 4 * 4, 5),
    )


def local() -> nn.Sequential:
    """Two locally connected layers, one padded and one with a stride."""
    return nn.Sequential(
        LocallyConnected2d(2, 4, 3, (7, 7), padding=1),
        nn.Tanh(),
        LocallyConnected2d(4, 3, 3, (7, 7), stride=2),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(3 * 3 * 3, 5),
    )


NETS = {"pseudo": pseudo, "local": local}
# The weight that a mirror at the first site stands for.
SECOND = {"pseudo": "3.mix.weight", "local": "2.weight"}


def data(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return torch.randn(6, 2, 7, 7, dtype=dtype), torch.randint(0, 5, (6,))


@functools.cache
def program(net: str, preset: str) -> UpdateProgram:
    torch.manual_seed(0)
    algorithm: Wiring = wiring.PRESETS[preset]()
    if net == "pseudo":
        algorithm = algorithm.model_copy(update={"sites": INSIDE})
    return compile(NETS[net](), algorithm, data())


# ------------------------------------------------------------------------------------------------ formulas


def test_a_pseudo_convolution_mixes_rectified_perturbed_copies() -> None:
    torch.manual_seed(0)
    layer, x = PseudoConv2d(2, 3, (4, 5), std=0.7, masks=2), torch.randn(2, 2, 4, 5)
    assert layer.noise.shape == (4, 4, 5)
    w, b = layer.mix.weight[:, :, 0, 0], layer.mix.bias
    assert b is not None
    for c in range(3):
        z = b[c] + sum(w[c, m] * torch.relu(x[:, m // 2] + layer.noise[m]) for m in range(4))
        torch.testing.assert_close(layer(x)[:, c], z)


def test_a_stride_averages_what_the_pseudo_convolution_without_one_computes() -> None:
    torch.manual_seed(0)
    layer, x = PseudoConv2d(2, 3, (7, 6), std=0.5, stride=2), torch.randn(2, 2, 7, 6)
    strided = layer(x)
    layer.stride = 1
    assert strided.shape == (2, 3, 4, 3)
    torch.testing.assert_close(strided, F.avg_pool2d(layer(x), 2, ceil_mode=True))


def test_noise_is_drawn_once_from_its_generator_and_never_learned() -> None:
    first, second = (PseudoConv2d(50, 2, (20, 20), std=0.3, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first.noise, second.noise)
    assert first.noise.std().item() == pytest.approx(0.3, rel=0.02)
    assert [name for name, _ in first.named_parameters()] == ["mix.weight", "mix.bias"]
    assert [name for name, _ in first.named_buffers()] == ["noise"]


def test_a_locally_connected_layer_with_equal_kernels_is_a_convolution() -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(2, 4, 3, stride=2, padding=1), torch.randn(3, 2, 9, 6)
    layer = LocallyConnected2d(2, 4, 3, (9, 6), stride=2, padding=1)
    assert conv.bias is not None
    assert layer.bias is not None
    with torch.no_grad():
        layer.weight.copy_(conv.weight.repeat(5 * 3, 1, 1, 1))
        layer.bias.copy_(conv.bias[:, None, None].expand(4, 5, 3))
    torch.testing.assert_close(layer(x), conv(x))


def test_a_locally_connected_layer_shares_no_kernel() -> None:
    layer, x = LocallyConnected2d(1, 2, 2, (3, 3), bias=False), torch.randn(1, 1, 3, 3)
    before = layer(x)
    with torch.no_grad():
        layer.weight.view(2, 2, 2, 1, 2, 2)[0, 1] += 1.0
    changed = (layer(x) - before).abs().sum(dim=(0, 1)) > 0
    assert changed.tolist() == [[False, True], [False, False]]


def test_a_locally_connected_layer_starts_as_a_convolution_does() -> None:
    torch.manual_seed(0)
    layer, conv = LocallyConnected2d(3, 5, 3, (8, 8)), nn.Conv2d(3, 5, 3)
    assert layer.bias is not None
    assert layer.weight.numel() == 6 * 6 * conv.weight.numel()
    assert layer.bias.shape == (5, 6, 6)
    bound = (3 * 3 * 3) ** -0.5
    for values in (layer.weight, layer.bias):
        assert 0.95 * bound < values.abs().max().item() <= bound


def test_a_kernel_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a kernel of 5x5 does not fit into maps of \(8, 4\) padded by 0; pad more"):
        LocallyConnected2d(1, 1, 5, (8, 4))


# ------------------------------------------------------------------------------------------------ compiled


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("net", NETS)
def test_backpropagation_through_the_layers_is_autograd(net: str, layout: str) -> None:
    torch.manual_seed(0)
    model, (x, y) = NETS[net]().double(), data(torch.float64)
    twin = copy.deepcopy(model)
    options = {} if layout == "contiguous" else {"layout": layout}
    Learner(compile(model, wiring.bp(), (x, y), **options)).learn(x, y)  # type: ignore[arg-type]
    F.cross_entropy(twin(x), y).backward()
    for (name, got), (_, want) in zip(model.named_parameters(), twin.named_parameters(), strict=True):
        torch.testing.assert_close(got.grad, want.grad, rtol=1e-12, atol=1e-14, msg=lambda text, name=name: f"{name}: {text}")


def test_the_inner_relu_is_a_site_unless_it_is_excluded() -> None:
    torch.manual_seed(0)
    everywhere = compile(pseudo(), wiring.dfa(), data())
    assert list(everywhere.plan.errors.sites) == ["2", "3.rectifier", "4"]
    inside = program("pseudo", "dfa").report()
    assert {site.name: site.parameters for site in inside.sites} == {
        "2": ("0.mix.weight", "0.mix.bias", "1.weight", "1.bias"),
        "4": ("3.mix.weight", "3.mix.bias"),
    }


@pytest.mark.parametrize("preset", ["dfa", "fa", "kp", "ekdaa", "rec_lra"])
@pytest.mark.parametrize("net", NETS)
def test_every_weight_learns_under(net: str, preset: str) -> None:
    learner = Learner(program(net, preset))
    learner.learn(*data())
    for name, parameter in learner.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("preset", ["fa", "kp", "ekdaa"])
@pytest.mark.parametrize("net", NETS)
def test_mirrors_stand_for_the_layers_weights(net: str, preset: str) -> None:
    report = program(net, preset).report()
    assert report.sites[0].edges[0].parameters == (f"mirror:{SECOND[net]}",)
    assert report.weight_transport == ()
