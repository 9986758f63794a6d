"""The papers' networks by name: sizes against numbers worked out by hand, order of modules, wirings that they are for."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import wiring
from compiler import Inputs, UpdateProgram, compile
from compiler.errorgraph import ErrorGraph
from compiler.errors import CompileError
from compiler.pipeline import Source, plan
from runtime import Learner
from runtime.models import ModelError, PseudoConv2d, build_model
from wiring import Sites, Wiring

INSIDE = Sites(exclude=("*.rectifier",))
MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


def conv(channels_in: int, channels_out: int, kernel: int = 3) -> int:
    return channels_in * channels_out * kernel**2 + channels_out


def dense(units_in: int, units_out: int) -> int:
    return units_in * units_out + units_out


def norm(channels: int) -> int:
    return 2 * channels


# Block convolutions of ResNet-18, in units of a 1x1 kernel's weights: stages of 64, 128, 256 and 512 channels.
POINTWISE = 4 * 64**2 + 64 * 128 + 3 * 128**2 + 128 * 256 + 3 * 256**2 + 256 * 512 + 3 * 512**2

COUNTS = [
    ("ekdaa_fashion", MNIST, conv(1, 32) + conv(32, 64) + conv(64, 128) + dense(6272, 128) + dense(128, 10)),
    (
        "ekdaa_cifar",
        CIFAR,
        conv(3, 64) + 2 * conv(64, 64) + conv(64, 128) + 2 * conv(128, 128) + dense(2048, 128) + dense(128, 10),
    ),
    ("dkp_cnn", MNIST, conv(1, 32) + conv(32, 32) + 2 * norm(32) + dense(6272, 128) + norm(128) + dense(128, 10)),
    ("dkp_cnn:padding=false", CIFAR, conv(3, 32) + conv(32, 32) + 2 * norm(32) + dense(6272, 128) + norm(128) + dense(128, 10)),
    (
        "dkp_alexnet",
        CIFAR,
        conv(3, 64) + conv(64, 192) + conv(192, 384) + conv(384, 256) + conv(256, 256) + norm(64 + 192 + 384 + 256 + 256)
        + dense(1024, 4096) + dense(4096, 4096) + norm(2 * 4096) + dense(4096, 10),
    ),
    ("drtp_mlp", MNIST, dense(784, 500) + dense(500, 10)),
    ("drtp_mlp:depth=2,width=1000", MNIST, dense(784, 1000) + dense(1000, 1000) + dense(1000, 10)),
    ("drtp_conv", MNIST, conv(1, 32, 5) + dense(6272, 1000) + dense(1000, 10)),
    ("rec_lra_mlp", MNIST, dense(784, 256) + 4 * dense(256, 256) + dense(256, 10)),
    ("rec_lra_residual_mlp", MNIST, dense(784, 256) + 7 * dense(256, 256) + dense(256, 10)),
    ("rec_lra_resnet18", CIFAR, 11_173_962),
    ("rec_lra_resnet18:layer=pseudo_conv", CIFAR, 11_173_962 - 8 * POINTWISE),
    ("rec_lra_resnet18:layer=pseudo_conv,masks=3", CIFAR, 11_173_962 - 6 * POINTWISE),
]  # fmt: skip


@pytest.mark.parametrize(("text", "input_shape", "parameters"), COUNTS, ids=[text for text, _, _ in COUNTS])
def test_parameter_counts_are_those_of_the_papers_layers(text: str, input_shape: tuple[int, ...], parameters: int) -> None:
    with torch.device("meta"):
        model = build_model(text, input_shape, 10)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


# ------------------------------------------------------------------------------------------------ what they consist of


def children(text: str, input_shape: tuple[int, ...] = (1, 8, 8)) -> list[str]:
    return [name for name, _ in build_model(text, input_shape, 10).named_children()]


def test_modules_of_a_layer_share_its_number() -> None:
    assert children("ekdaa_fashion") == [
        *("conv1", "act1", "pool1", "drop1", "conv2", "act2", "pool2", "drop2", "conv3", "act3", "drop3", "flatten"),
        *("fc1", "act4", "drop4", "output"),
    ]
    assert [name for name in children("ekdaa_cifar") if "pool" in name] == ["pool2", "pool4", "pool6"]
    assert children("dkp_cnn") == [
        *("conv1", "norm1", "act1", "conv2", "norm2", "act2", "pool2", "flatten", "fc1", "norm3", "act3", "output"),
    ]
    assert children("rec_lra_residual_mlp:depth=3") == ["flatten", "hidden1", "act1", "block2", "block3", "output"]


def test_dropout_is_where_the_papers_have_it() -> None:
    ekdaa = build_model("ekdaa_cifar", CIFAR, 10)
    assert [m.p for m in ekdaa.children() if isinstance(m, nn.Dropout)] == [0.1] * 6 + [0.3]
    assert children("drtp_mlp:depth=2,dropout=0.25") == [
        *("flatten", "drop0", "hidden1", "act1", "drop1", "hidden2", "act2", "drop2", "output"),
    ]
    assert children("drtp_conv:dropout=0.1") == [
        *("conv1", "act1", "pool1", "drop1", "flatten", "fc1", "act2", "drop2", "output"),
    ]
    assert "drop1" not in children("drtp_conv")


def test_signum_units_are_sites_by_the_name_of_their_module() -> None:
    x = torch.tensor([[-2.0, 0.0, 3.0]])
    assert build_model("mlp:activation=sign", (3,), 2).get_submodule("act1")(x).tolist() == [[-1.0, 0.0, 1.0]]
    errors = error_graph("rec_lra_mlp:activation=sign,width=8,depth=2", (6,), wiring.rec_lra(gap=2))
    assert {name: site.activation for name, site in errors.sites.items()} == {"act1": "sign", "act2": "sign"}


def test_a_residual_layer_adds_its_input_to_its_pre_activation() -> None:
    layer = build_model("rec_lra_residual_mlp:width=5,depth=2", (3,), 2).get_submodule("block2")
    x, linear = torch.randn(4, 5), layer.get_submodule("linear")
    torch.testing.assert_close(layer(x), torch.relu(linear(x) + x))


def test_pseudo_convolutions_stand_for_every_kernel_inside_a_block() -> None:
    model = build_model("rec_lra_resnet18:layer=pseudo_conv,width=2,masks=3,std=0.2", (1, 28, 28), 10)
    pseudo = {name: module for name, module in model.named_modules() if isinstance(module, PseudoConv2d)}
    assert len(pseudo) == 16
    assert {m.kernel_size for name, m in model.named_modules() if isinstance(m, nn.Conv2d) and "." in name} == {(1, 1)}
    assert isinstance(model.get_submodule("conv1"), nn.Conv2d)
    shapes = {name: (tuple(module.noise.shape), module.stride) for name, module in pseudo.items()}
    assert shapes["layer2.0.conv1"] == ((6, 28, 28), 2)
    assert shapes["layer4.0.conv1"] == ((24, 7, 7), 2)
    assert shapes["layer4.0.conv2"] == ((48, 4, 4), 1)
    assert model.training
    assert model.get_buffer("bn1.num_batches_tracked").item() == 0


# ------------------------------------------------------------------------------------------------ compiled


def data(input_shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return torch.randn(4, *input_shape, dtype=dtype), torch.randint(0, 10, (4,))


def error_graph(text: str, input_shape: tuple[int, ...], algorithm: Wiring) -> ErrorGraph:
    """What a wiring makes of a model, without tracing a step."""
    x, y = data(input_shape)
    return plan(Source(build_model(text, input_shape, 10), algorithm, F.cross_entropy, None, None), Inputs.of(x), y).errors


def compiled(text: str, input_shape: tuple[int, ...], algorithm: Wiring) -> UpdateProgram:
    torch.manual_seed(0)
    return compile(build_model(text, input_shape, 10), algorithm, data(input_shape))


@pytest.mark.parametrize(
    ("text", "input_shape", "algorithm"),
    [
        ("ekdaa_fashion", (1, 4, 4), wiring.ekdaa()),
        ("ekdaa_fashion:activation=sign", (1, 4, 4), wiring.ekdaa()),
        ("dkp_cnn", (1, 6, 6), wiring.dkp()),
        ("dkp_cnn:padding=false", (1, 6, 6), wiring.kp()),
        ("drtp_mlp:depth=2,width=8,dropout=0.1", (1, 4, 4), wiring.drtp()),
        ("drtp_conv:width=8,dropout=0.1", (1, 4, 4), wiring.drtp()),
        ("rec_lra_mlp:width=8,activation=elu", (1, 4, 4), wiring.rec_lra(gap=2)),
        ("rec_lra_residual_mlp:width=8,depth=4", (1, 4, 4), wiring.rec_lra(depth=1)),
    ],
)
def test_every_weight_learns_under_the_wiring_of_its_paper(text: str, input_shape: tuple[int, ...], algorithm: Wiring) -> None:
    learner = Learner(compiled(text, input_shape, algorithm))
    assert learner.learn(*data(input_shape)).loss.isfinite()
    weights = [(name, p) for name, p in learner.named_parameters() if p.requires_grad and p.dim() > 1]
    assert [name for name, p in weights if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()] == []


def test_gradient_credit_refuses_signum_units() -> None:
    with pytest.raises(CompileError, match=r"cannot credit site 'act1' \(sign\): its derivative is zero almost everywhere"):
        compiled("ekdaa_fashion:activation=sign", (1, 4, 4), wiring.dfa())


def test_every_residual_layer_is_a_block() -> None:
    errors = error_graph("rec_lra_residual_mlp:width=8,depth=4", (6,), wiring.rec_lra(depth=1))
    assert list(errors.sites) == ["act1", "block2.act", "block3.act", "block4.act"]
    assert errors.structure.levels[0] == {f"block{number}.act": f"block{number}" for number in (2, 3, 4)}


def test_a_pseudo_convolutional_resnet_has_the_error_graph_of_its_twin() -> None:
    algorithm = wiring.rec_lra(depth=2)
    inside = algorithm.model_copy(update={"sites": INSIDE})
    pseudo = error_graph("rec_lra_resnet18:layer=pseudo_conv,width=2", (1, 8, 8), inside)
    twin = error_graph("rec_lra_resnet18:width=2", (1, 8, 8), algorithm)
    assert len(twin.sites) == 17
    assert {name: site.shape for name, site in pseudo.sites.items()} == {name: site.shape for name, site in twin.sites.items()}
    assert [[edge.source for edge in into] for into in pseudo.edges.values()] == [
        [edge.source for edge in into] for into in twin.edges.values()
    ]


def test_backpropagation_through_a_pseudo_convolutional_resnet_is_autograd() -> None:
    torch.manual_seed(0)
    model = build_model("rec_lra_resnet18:layer=pseudo_conv,width=2", (1, 9, 9), 10).double()
    twin, (x, y) = copy.deepcopy(model), data((1, 9, 9), torch.float64)
    Learner(compile(model, wiring.bp(), (x, y))).learn(x, y)
    F.cross_entropy(twin(x), y).backward()
    for (name, got), (_, want) in zip(model.named_parameters(), twin.named_parameters(), strict=True):
        torch.testing.assert_close(got.grad, want.grad, rtol=1e-12, atol=1e-14, msg=lambda text, name=name: f"{name}: {text}")


# ------------------------------------------------------------------------------------------------ texts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ekdaa_cnn", r"Model 'ekdaa_cnn' is not known. Did you mean "),
        ("ekdaa_fashion:dropout=0", r"has no option 'dropout'. Its options are activation."),
        ("ekdaa_cifar:activation=signum", r"activation 'signum' is not known; the known ones are tanh, .*, sign, identity."),
        ("dkp_cnn:padding=1", r"option 'padding' is 1. Give true or false."),
        ("dkp_alexnet", r"nothing is left of such small images behind its convolution 5; use larger images."),
        ("drtp_mlp:dropout=1", r"dropout is a probability in \[0, 1\), not 1."),
        ("drtp_conv:dropout=-0.1", r"dropout is a probability in \[0, 1\), not -0.1."),
        ("rec_lra_resnet18:layer=pseudo", r"option 'layer' is 'pseudo'. Give conv or pseudo_conv."),
    ],
)
def test_a_text_that_cannot_be_built_says_why(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_model(text, (1, 8, 8), 10)


def test_convolutional_networks_ask_for_images() -> None:
    with pytest.raises(ModelError, match=r"the inputs have shape \(64,\); use 'mlp' for these"):
        build_model("ekdaa_fashion", (64,), 10)
