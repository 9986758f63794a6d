"""Built-in models by text: shapes, parameter counts against the literature, the user's own factories, every error."""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from runtime.models import MODELS, ModelError, build_model
from runtime.models.registry import parse_model
from wiring.errors import ErrorwireError, OptionError

THIN = {name: f"{name}:width=4" if "width" in inspect.signature(factory).parameters else name for name, factory in MODELS.items()}
THIN["wide_resnet"] = "wide_resnet:depth=10,widen=1"
TOO_SMALL = ("dkp_alexnet", (1, 8, 8))
CASES = [(name, shape) for name in MODELS for shape in [(1, 8, 8), (3, 32, 32)] if (name, shape) != TOO_SMALL]


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current directory with the module ``own_nets``; both are forgotten afterwards."""
    (tmp_path / "own_nets.py").write_text(
        "from torch import nn\n"
        "def shaped(input_shape, classes, width=2):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(input_shape[1], width), nn.Linear(width, classes))\n"
        "def bare(bias=True):\n"
        "    return nn.Linear(3, 2, bias=bias)\n"
        "def open_ended(**options):\n"
        "    return nn.Linear(options['classes'], options['width'])\n"
        "def number():\n"
        "    return 7\n"
        "def broken():\n"
        "    raise KeyError('weights')\n"
        "def foreign(num_classes):\n"
        "    return nn.Linear(64, num_classes)\n"
        "size = 3\n"
    )
    (tmp_path / "own_broken.py").write_text("import no_such_package\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("own_nets", None)


@pytest.mark.parametrize(("name", "input_shape"), CASES)
def test_every_model_maps_images_to_logits_and_reaches_every_parameter(name: str, input_shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = build_model(THIN[name], input_shape, 10)
    logits = model(torch.randn(2, *input_shape))
    assert logits.shape == (2, 10)
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("text", "input_shape", "classes", "parameters"),
    [
        ("resnet20", (3, 32, 32), 10, 272_474),
        ("resnet56", (3, 32, 32), 10, 855_770),
        ("resnet110", (3, 32, 32), 10, 1_730_714),
        ("resnet18", (3, 32, 32), 10, 11_173_962),
        ("resnet18", (3, 224, 224), 1000, 11_689_512),
        ("resnet34", (3, 224, 224), 1000, 21_797_672),
        ("resnet50", (3, 224, 224), 1000, 25_557_032),
        ("preact_resnet18", (3, 32, 32), 10, 11_172_170),
        ("wide_resnet:depth=28,widen=10", (3, 32, 32), 10, 36_479_194),
    ],
)
def test_parameter_counts_are_the_published_ones(text: str, input_shape: tuple[int, ...], classes: int, parameters: int) -> None:
    with torch.device("meta"):
        assert count(build_model(text, input_shape, classes)) == parameters


@pytest.mark.parametrize("depth", [8, 14, 20, 32, 44, 56, 110])
def test_a_cifar_resnet_has_as_many_layers_as_its_name_says(depth: int) -> None:
    model = build_model(f"resnet{depth}:width=1", (1, 8, 8), 10)
    projections = {id(m) for name, m in model.named_modules() if ".shortcut." in name}
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear) and id(m) not in projections]
    assert len(layers) == depth


def test_the_stem_of_an_imagenet_type_follows_from_the_image() -> None:
    small, large = (build_model("resnet18:width=2", (3, size, size), 10) for size in (64, 65))
    image = torch.zeros(1, 3, 96, 96)
    stems = [nn.Sequential(model.get_submodule("conv1"), model.get_submodule("maxpool")) for model in (small, large)]
    assert [stem(image).shape[-1] for stem in stems] == [96, 24]


def test_the_default_mlp_is_three_layers_of_128_tanh() -> None:
    model = build_model("mlp", (1, 8, 8), 10)
    names = ["flatten", "hidden1", "act1", "hidden2", "act2", "hidden3", "act3", "output"]
    assert [name for name, _ in model.named_children()] == names
    assert count(model) == 64 * 128 + 128 + 2 * (128 * 128 + 128) + 128 * 10 + 10
    assert isinstance(model.get_submodule("act3"), nn.Tanh)


def test_options_reach_the_model() -> None:
    model = build_model("mlp:width=5,depth=1,activation=relu", (7,), 3)
    assert [str(child) for child in model.children()][1:] == [
        "Linear(in_features=7, out_features=5, bias=True)",
        "ReLU()",
        "Linear(in_features=5, out_features=3, bias=True)",
    ]
    dropped = build_model("wide_resnet:depth=10,widen=1,dropout=0.25", (1, 8, 8), 10)
    assert [m.p for m in dropped.modules() if isinstance(m, nn.Dropout)] == [0.25] * 3


def test_own_factories_get_what_their_signature_takes(own: Path) -> None:
    shaped = build_model("own_nets:shaped:width=3", (1, 8), 4)
    assert shaped(torch.zeros(2, 8)).shape == (2, 4)
    assert build_model("own_nets:bare:bias=false", (1, 8), 4).get_parameter("weight").shape == (2, 3)
    assert build_model("own_nets:open_ended:width=6", (1, 8), 4).get_parameter("weight").shape == (6, 4)
    assert isinstance(build_model("torch.nn:Identity", (1, 8), 4), nn.Identity)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resnet21", r"Model 'resnet21' is not known. Did you mean .*'resnet20'.*\? The built-in models are mlp, cnn, "),
        ("zzz", r"Model 'zzz' is not known. The built-in models are mlp, .*Write package.module:factory for one of"),
        ("zzz:width=3", r"Model 'zzz' is not known"),
        ("resnet8:widht=8", r"Model 'resnet8:widht=8' has no option 'widht'. Its options are width."),
        ("mlp:classes=8", r"'classes' follows from the data and is no option. Leave it out."),
        ("resnet8:width=0", r"Model 'resnet8:width=0': option 'width' is 0. Give a whole number from 1 on."),
        ("resnet8:width=true", r"option 'width' is True. Give a whole number from 1 on."),
        ("wide_resnet:dropout=high", r"option 'dropout' is 'high'. Give a number."),
        ("mlp:activation=3", r"option 'activation' is 3. Give a name."),
        ("mlp:activation=tanhh", r"cannot be built for inputs of shape \(1, 8, 8\) and 10 classes: activation 'tanhh' is"),
        ("cnn:depth=4", r"its 4 poolings need images of at least 16x16 pixels, not 8x8; use a smaller depth."),
        ("wide_resnet:depth=15", r"a wide ResNet has 6n \+ 4 layers \(10, 16, 22, ...\), not 15."),
        ("wide_resnet:dropout=1", r"dropout is a probability in \[0, 1\), not 1."),
        ("no_such.module:make", r"module 'no_such.module' cannot be imported \(ModuleNotFoundError: .*It is looked for in"),
        ("own_broken:make", r"module 'own_broken' cannot be imported \(ModuleNotFoundError: No module named 'no_such_pa"),
        ("own_nets:shape", r"module 'own_nets' has no 'shape'. Did you mean 'shaped'"),
        ("own_nets:zzz", r"module 'own_nets' has no 'zzz'. Name a function or class that it defines."),
        ("own_nets:size", r"'size' is of type int and cannot be called. Name a function or class that returns an nn.M"),
        ("own_nets:bare:width=3", r"Model 'own_nets:bare:width=3' has no option 'width'. Its options are bias."),
        ("own_nets:number:width=3", r"has no option 'width'. It has no options; leave them out."),
        ("own_nets:number", r"Model 'own_nets:number' gave an object of type int, not an nn.Module. Let its factory"),
        ("own_nets:broken", r"Model 'own_nets:broken' cannot be built for .* 10 classes: KeyError: 'weights'."),
        ("own_nets:foreign", r"parameter 'num_classes' of its factory.* Call it input_shape or classes, give it a default, or set"),
        ("builtins:dict", r"the signature of its factory cannot be read \(.*\). Wrap it in a Python function."),
    ],
)
def test_what_cannot_be_built_says_why_and_what_would(own: Path, text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_model(text, (1, 8, 8), 10)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("mlp", (None, "mlp")),
        (" mlp:run", (None, " mlp:run")),
        ("mlp\t:width=3", (None, "mlp\t:width=3")),
        ("zzz: width=3", (None, "zzz: width=3")),
        ("zzz: ", (None, "zzz: ")),
        ("own_nets:shaped", ("own_nets", "shaped")),
        (" own_nets : shaped : width=3 ", ("own_nets", "shaped:width=3")),
    ],
)
def test_blanks_do_not_change_what_a_text_names(text: str, taken: tuple[str | None, str]) -> None:
    assert parse_model(text) == taken


def test_blanks_around_a_built_in_name_import_nothing(own: Path) -> None:
    (own / "mlp.py").write_text("from pathlib import Path\nPath('executed').touch()\n")
    with pytest.raises(OptionError, match="'run' in ' mlp:run' is not of the form key=value"):
        build_model(" mlp:run", (1, 8), 4)
    assert not (own / "executed").exists()
    assert build_model(" own_nets : shaped : width=3 ", (1, 8), 4)(torch.zeros(2, 8)).shape == (2, 4)


def test_images_are_asked_for_where_a_model_needs_them() -> None:
    with pytest.raises(ModelError, match=r"the inputs have shape \(64,\); use 'mlp' for these"):
        build_model("resnet8", (64,), 10)


def test_a_malformed_option_of_a_built_in_model_is_an_option_error() -> None:
    with pytest.raises(OptionError, match="not of the form key=value"):
        build_model("resnet8:width", (1, 8, 8), 10)
    assert issubclass(ModelError, ErrorwireError)
