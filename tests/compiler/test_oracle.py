"""Backpropagation as a wiring against autograd: updates, loss, output and buffers, over the zoo and over corners of torch."""

import copy
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from architectures import CASES, Case
from torch import Tensor, nn

from compiler import Inputs, compile
from runtime.learner import Learned, Learner
from wiring import Wiring, bp

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}
REGROUPED = {"unrolled_gru", "densenet", "convnext", "preact_resnet", "mlp_mixer"}
"""Where three or more gradients meet at one value or weight: a region adds its own ones first, autograd the last ones first."""
Loss = Callable[[Any, Any], Tensor]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order, so that nothing depends on the machine's load."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ------------------------------------------------------------------------------------------------ both implementations


def cast(value: Any, dtype: torch.dtype) -> Any:
    """Floating-point tensors to ``dtype``, everything else as it is."""
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def program_step(learner: Learner, x: Any, y: Any) -> Learned:
    torch.manual_seed(1)
    return learner.learn(x, y)


def autograd_step(model: nn.Module, inputs: Inputs, y: Any, loss: Loss, pick: Callable[[Any], Tensor]) -> tuple[Tensor, Tensor]:
    """Loss and output; ``.grad`` of the model is filled."""
    torch.manual_seed(1)
    output = pick(model(*inputs.args, **inputs.keywords()))
    value = loss(output, y)
    value.backward()
    return value.detach(), output.detach()


def worst(got: nn.Module, want: nn.Module) -> tuple[float, str]:
    """The largest relative error of a parameter's gradient; relative to the largest gradient where its own is rounding."""
    reference = dict(want.named_parameters())
    largest = max(p.grad.norm().item() for p in reference.values() if p.grad is not None)
    errors = []
    for name, parameter in got.named_parameters():
        oracle = reference[name].grad
        assert (parameter.grad is None) == (oracle is None), f"{name}: gradient {parameter.grad} against {oracle}"
        if parameter.grad is not None and oracle is not None:
            assert parameter.grad.dtype == oracle.dtype
            size = oracle.norm().item()
            scale = size if size > 1e-6 * largest else largest
            errors.append(((parameter.grad - oracle).norm().item() / scale, name))
    return max(errors)


def check(
    model: nn.Module,
    x: Any,
    y: Any,
    loss: Loss = F.cross_entropy,
    tolerance: float = 1e-6,
    wiring: Wiring | None = None,
    pick: Callable[[Any], Tensor] = lambda value: value,
    around: Callable[[], AbstractContextManager[Any]] = nullcontext,
    **options: Any,
) -> Learner:
    """One step by the program and one by autograd on a copy; everything that they leave behind must agree."""
    twin = copy.deepcopy(model)
    learner = Learner(compile(model, wiring or bp(), (x, y), loss, **options))
    result = program_step(learner, x, y)
    with around():
        value, output = autograd_step(twin, Inputs.of(x), y, loss, pick)
    torch.testing.assert_close(result.loss, value, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(result.output, output, rtol=tolerance, atol=tolerance)
    for (name, buffer), (_, oracle) in zip(model.named_buffers(), twin.named_buffers(), strict=True):
        torch.testing.assert_close(buffer, oracle, rtol=tolerance, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}")
    error, name = worst(model, twin)
    assert error <= tolerance, f"{name} is off by {error:.1e}"
    return learner


# ------------------------------------------------------------------------------------------------ the zoo


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_bp_is_autograd(case: Case, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = case.build().to(dtype)
    inputs = tuple(cast(tensor, dtype) for tensor in case.inputs())
    check(model, inputs, cast(case.labels(), dtype), case.loss, TOLERANCE[dtype] if case.name in REGROUPED else 0.0)


@pytest.mark.parametrize("batch", [7, 49, 98, 103])
def test_bp_is_autograd_to_the_bit_at_any_batch_size(batch: int) -> None:
    """Also where ``N * (1 / N)`` is not 1."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    check(model, torch.randn(batch, 6, dtype=torch.float64), torch.randint(0, 3, (batch,)), tolerance=0.0)


@pytest.mark.parametrize("name", ["mlp", "se_resnet", "text_encoder"])
def test_bp_under_autocast_is_autograd_under_autocast(name: str) -> None:
    case = CASES[name]
    torch.manual_seed(0)
    model = case.build()
    plain = copy.deepcopy(model)
    around = functools.partial(torch.autocast, "cpu", torch.bfloat16)
    learner = check(model, case.inputs(), case.labels(), tolerance=1e-6, around=around, autocast=torch.bfloat16)
    assert learner.program.source.autocast is torch.bfloat16
    autograd_step(plain, Inputs.of(case.inputs()), case.labels(), F.cross_entropy, lambda value: value)
    assert worst(model, plain)[0] > 1e-4, "autocast changed nothing, so this test shows nothing"


def test_the_ambient_autocast_is_taken() -> None:
    model, twin = mlp(), mlp()
    with torch.autocast("cpu", torch.bfloat16):
        learner = Learner(compile(model, bp(), (batch(6), classes())))
        autograd_step(twin, Inputs.of(batch(6)), classes(), F.cross_entropy, lambda value: value)
    learner.learn(batch(6), classes())
    assert worst(model, twin)[0] <= 1e-6


# ------------------------------------------------------------------------------------------------ calling the model


class Keywords(nn.Module):
    """Two tensors and an option, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(6, 8), nn.Linear(3, 8), nn.Linear(8, 5)

    def forward(self, a: Tensor, b: Tensor | None = None, *, gain: float = 1.0) -> Tensor:
        h = torch.tanh(self.left(a))
        if b is not None:
            h = h + gain * torch.tanh(self.right(b))
        logits: Tensor = self.head(h)
        return logits


@dataclass
class Answer:
    """What a model of the transformers kind returns."""

    hidden: Tensor
    logits: Tensor


torch.utils._pytree.register_dataclass(Answer)


class Returning(nn.Module):
    """A small network that wraps its logits as asked."""

    def __init__(self, wrap: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.body, self.head, self.wrap = nn.Linear(6, 8), nn.Linear(8, 5), wrap

    def forward(self, x: Tensor) -> Any:
        hidden = torch.relu(self.body(x))
        return self.wrap(hidden, self.head(hidden))


def batch(*features: int, count: int = 4) -> Tensor:
    return torch.randn(count, *features, generator=torch.Generator().manual_seed(0))


def classes(count: int = 4) -> Tensor:
    return torch.randint(5, (count,), generator=torch.Generator().manual_seed(1))


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 5))


def test_keyword_inputs() -> None:
    torch.manual_seed(0)
    model = Keywords()
    check(copy.deepcopy(model), {"a": batch(6), "b": batch(3), "gain": 0.5}, classes())
    learner = check(model, Inputs((batch(6),), {"b": batch(3), "gain": 1.0}), classes())
    with torch.no_grad():
        want = model(batch(6), batch(3), gain=2.0)
    got = learner.learn(Inputs((batch(6),), {"b": batch(3), "gain": 2.0}), classes()).output
    torch.testing.assert_close(got, want)


def test_an_optional_input_left_out_leaves_its_tower_unread_and_so_needs_frozen() -> None:
    torch.manual_seed(0)
    wiring = bp().model_copy(update={"frozen": ("right.*",)})
    model = Keywords()
    learner = Learner(compile(model, wiring, ({"a": batch(6), "b": None}, classes())))
    learner.learn({"a": batch(6), "b": None}, classes())
    assert [name for name, p in model.named_parameters() if p.grad is None] == ["right.weight", "right.bias"]


@pytest.mark.parametrize(
    ("wrap", "output", "pick"),
    [
        (lambda h, v: (h, v), 1, lambda value: value[1]),
        (lambda h, v: [v, h], 0, lambda value: value[0]),
        (lambda h, v: {"hidden": h, "logits": v}, "logits", lambda value: value["logits"]),
        (Answer, "logits", lambda value: value.logits),
        (
            lambda h, v: {"deep": [{"logits": v}]},
            lambda value: value["deep"][0]["logits"],
            lambda value: value["deep"][0]["logits"],
        ),
    ],
    ids=["tuple", "list", "dict", "dataclass", "function"],
)
def test_one_of_several_outputs(wrap: Any, output: Any, pick: Any) -> None:
    torch.manual_seed(0)
    check(Returning(wrap), batch(6), classes(), pick=pick, output=output)


# ------------------------------------------------------------------------------------------------ losses


@pytest.mark.parametrize(
    "loss",
    [
        functools.partial(F.cross_entropy, label_smoothing=0.1),
        functools.partial(F.cross_entropy, weight=torch.tensor([0.5, 2.0, 1.0, 0.1, 3.0])),
        functools.partial(F.cross_entropy, ignore_index=3),
        functools.partial(F.cross_entropy, reduction="sum"),
        nn.CrossEntropyLoss(label_smoothing=0.2, ignore_index=0),
        nn.CrossEntropyLoss(weight=torch.tensor([0.5, 2.0, 1.0, 0.1, 3.0]), label_smoothing=0.1),
        nn.CrossEntropyLoss(reduction="sum"),
        nn.MultiMarginLoss(),
        lambda v, y: 3.0 * F.cross_entropy(v, y) + 0.01 * v.square().mean(),
    ],
    ids=["smoothing", "weights", "ignore", "sum", "module", "module_weights", "module_sum", "margin", "composed"],
)
def test_losses_on_classes(loss: Loss) -> None:
    check(mlp().double(), batch(6).double(), classes(), _double(loss), 1e-12)


def _double(loss: Loss) -> Loss:
    """The loss with its own tensors in float64."""
    if isinstance(loss, nn.Module):
        return loss.double()
    if isinstance(loss, functools.partial):
        return functools.partial(loss.func, **{key: cast(value, torch.float64) for key, value in loss.keywords.items()})
    return loss


@pytest.mark.parametrize(
    "loss",
    [F.mse_loss, nn.MSELoss(reduction="sum"), nn.BCEWithLogitsLoss(), nn.SmoothL1Loss(), nn.BCEWithLogitsLoss(reduction="sum")],
    ids=["mse", "mse_sum", "bce", "huber", "bce_sum"],
)
def test_losses_on_vectors(loss: Loss) -> None:
    targets = torch.rand(4, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    check(mlp().double(), batch(6).double(), targets, loss, 1e-12)


def test_labels_of_several_tensors() -> None:
    labels = {"class": classes(), "weight": torch.rand(4, generator=torch.Generator().manual_seed(2))}

    def loss(v: Tensor, y: dict[str, Tensor]) -> Tensor:
        return (F.cross_entropy(v, y["class"], reduction="none") * y["weight"]).mean()

    check(mlp(), batch(6), labels, loss)


def test_dense_labels_a_class_at_every_pixel() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 1))
    labels = torch.randint(5, (4, 8, 8), generator=torch.Generator().manual_seed(1))
    check(model, batch(3, 8, 8), labels, functools.partial(F.cross_entropy, ignore_index=2))


# ------------------------------------------------------------------------------------------------ modes, shapes, formats


def convolutional() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5),
    )  # fmt: skip


def test_a_normalisation_in_evaluation_mode_inside_a_training_model_uses_its_statistics_and_keeps_them() -> None:
    model = convolutional().double()
    with torch.no_grad():
        model[1].running_mean.fill_(0.3)
        model[1].running_var.fill_(2.0)
    model[1].eval()
    check(model, batch(3, 8, 8).double(), classes(), tolerance=1e-12)
    assert torch.equal(model[1].running_mean, torch.full((4,), 0.3, dtype=torch.float64))
    assert model[1].num_batches_tracked.item() == 0
    assert model[6].num_batches_tracked.item() == 1


def test_the_mode_is_read_at_every_step() -> None:
    model = convolutional().double()
    x, y = batch(3, 8, 8).double(), classes()
    learner = check(model, x, y, tolerance=1e-12)
    learner.zero_grad()
    learner.eval()
    twin = copy.deepcopy(model)
    result = learner.learn(x, y)
    value, _ = autograd_step(twin, Inputs.of(x), y, F.cross_entropy, lambda output: output)
    torch.testing.assert_close(result.loss, value)
    assert worst(model, twin)[0] <= 1e-12
    assert torch.equal(model[6].running_mean, twin[6].running_mean)


@pytest.mark.parametrize(
    ("shape", "memory_format"),
    [((4, 3, 8, 8), torch.channels_last), ((6, 3, 8, 8), torch.contiguous_format), ((2, 3, 12, 10), torch.contiguous_format)],
    ids=["channels_last", "batch", "size"],
)
def test_another_format_or_shape_than_the_example(shape: tuple[int, ...], memory_format: torch.memory_format) -> None:
    model = convolutional().double()
    learner = check(model, batch(3, 8, 8).double(), classes(), tolerance=1e-12)
    learner.zero_grad()
    twin = copy.deepcopy(model)
    x = batch(*shape[1:], count=shape[0]).double().contiguous(memory_format=memory_format)
    y = classes(shape[0])
    result = program_step(learner, x, y)
    value, output = autograd_step(twin, Inputs.of(x), y, F.cross_entropy, lambda output: output)
    torch.testing.assert_close(result.loss, value, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(result.output, output, rtol=1e-12, atol=1e-12)
    assert worst(model, twin)[0] <= 1e-12
    for buffer, oracle in zip(model.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(buffer, oracle, rtol=1e-12, atol=1e-12)


def test_a_non_contiguous_input_and_a_model_in_channels_last() -> None:
    model = convolutional().double().to(memory_format=torch.channels_last)
    x = batch(8, 8, 3).double().permute(0, 3, 1, 2)
    assert not x.is_contiguous()
    check(model, x, classes(), tolerance=1e-12)


# ------------------------------------------------------------------------------------------------ what learns


@pytest.mark.parametrize("still", [("0.weight",), ("0.weight", "0.bias"), ("2.bias",), ("2.weight", "2.bias")])
def test_parameters_that_require_no_gradient(still: tuple[str, ...]) -> None:
    model = mlp()
    for name in still:
        model.get_parameter(name).requires_grad_(False)
    check(model, batch(6), classes())
    assert {name for name, p in model.named_parameters() if p.grad is None} == set(still)


@pytest.mark.parametrize("patterns", [("0.*",), ("*.bias",), ("2.weight", "4.weight")])
def test_parameters_that_the_wiring_freezes(patterns: tuple[str, ...]) -> None:
    model = mlp()
    twin = copy.deepcopy(model)
    Learner(compile(model, bp().model_copy(update={"frozen": patterns}), (batch(6), classes()))).learn(batch(6), classes())
    autograd_step(twin, Inputs.of(batch(6)), classes(), F.cross_entropy, lambda value: value)
    frozen = {name for name, p in model.named_parameters() if p.grad is None}
    assert frozen == {name for name, _ in model.named_parameters() if any(fnmatchcase(name, pattern) for pattern in patterns)}
    for name, parameter in model.named_parameters():
        if name not in frozen:
            torch.testing.assert_close(parameter.grad, twin.get_parameter(name).grad, rtol=1e-6, atol=1e-8)


def test_two_steps_accumulate_as_two_backward_calls() -> None:
    model = convolutional().double()
    x, y = batch(3, 8, 8).double(), classes()
    learner = Learner(compile(model, bp(), (x, y)))
    twin = copy.deepcopy(model)
    for scale in (1.0, 2.0):
        program_step(learner, scale * x, y)
        autograd_step(twin, Inputs.of(scale * x), y, F.cross_entropy, lambda value: value)
    assert worst(model, twin)[0] <= 1e-12
    for buffer, oracle in zip(model.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(buffer, oracle, rtol=1e-12, atol=1e-12)


def test_ten_steps_of_adam_stay_with_autograd() -> None:
    model = mlp().double()
    twin = copy.deepcopy(model)
    x, y = batch(6).double(), classes()
    learner = Learner(compile(model, bp(), (x, y)))
    optimizers = [torch.optim.AdamW(m.parameters(), lr=3e-2) for m in (learner, twin)]
    losses = []
    for _ in range(10):
        losses.append(learner.learn(x, y).loss)
        theirs = F.cross_entropy(twin(x), y)
        theirs.backward()
        torch.testing.assert_close(losses[-1], theirs.detach(), rtol=1e-9, atol=1e-9)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert losses[-1] < 0.7 * losses[0]


def test_inference_is_the_users_own_module() -> None:
    model = convolutional().eval()
    learner = Learner(compile(model, bp(), (batch(3, 8, 8), classes())))
    assert torch.equal(learner(batch(3, 8, 8)), model(batch(3, 8, 8)))
    assert list(learner.parameters()) == list(model.parameters())


# ------------------------------------------------------------------------------------------------ recurrence, complex numbers


class Recurrent(nn.Module):
    """``nn.LSTM`` and its kin as published: the last step's hidden state into a linear layer."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.cell, self.head = kind(6, 8, num_layers=2, batch_first=True), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.cell(x)
        logits: Tensor = self.head(states[:, -1])
        return logits


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_recurrent_modules(kind: type[nn.RNNBase], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    check(Recurrent(kind).to(dtype), batch(7, 6).to(dtype), classes(), tolerance=TOLERANCE[dtype])


class Assigning(nn.Module):
    """Assignments to slices, of numbers and of other slices, and operators in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x)).clone()
        h[:, 1:3] = 0
        h[:, 0] += 1
        h.mul_(2.0)
        moved = torch.zeros_like(h)
        moved[:, 2:6] = h[:, :4]
        result: Tensor = self.last(torch.tanh(self.second(moved)))
        return result


def test_assignments_to_slices() -> None:
    torch.manual_seed(0)
    check(Assigning(), batch(6), classes())


class Spectral(nn.Module):
    """A filter on Fourier coefficients, as in global filter networks."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(6, 12), nn.Linear(12, 5)
        self.filter = nn.Parameter(torch.randn(7, 2))

    def forward(self, x: Tensor) -> Tensor:
        frequencies = torch.fft.rfft(F.gelu(self.first(x))) * torch.view_as_complex(self.filter)
        logits: Tensor = self.head(F.relu(torch.fft.irfft(frequencies, n=12)))
        return logits


def test_complex_values_inside_a_model() -> None:
    torch.manual_seed(0)
    check(Spectral(), batch(6), classes())


# ------------------------------------------------------------------------------------------------ around the program


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_compiling_and_learning_where_gradients_are_off(mode: Callable[[], AbstractContextManager[Any]]) -> None:
    model, twin = mlp(), mlp()
    with mode():
        learner = Learner(compile(model, bp(), (batch(6), classes())))
        learner.learn(batch(6), classes())
    autograd_step(twin, Inputs.of(batch(6)), classes(), F.cross_entropy, lambda value: value)
    assert worst(model, twin)[0] <= 1e-6


def test_freezing_and_thawing_between_steps() -> None:
    model = mlp()
    model[0].requires_grad_(False)
    learner = check(model, batch(6), classes())
    learner.zero_grad()
    model[0].requires_grad_(True)
    model[2].requires_grad_(False)
    learner.learn(batch(6), classes())
    assert model[0].weight.grad is not None
    assert model[2].weight.grad is None


def test_a_learner_can_be_copied() -> None:
    learner = Learner(compile(mlp(), bp(), (batch(6), classes())))
    twin = copy.deepcopy(learner)
    twin.learn(batch(6), classes())
    assert all(parameter.grad is None for parameter in learner.parameters())
    assert all(parameter.grad is not None for parameter in twin.parameters())
