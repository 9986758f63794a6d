"""An attached model's updates are the learner's bit for bit, and under the wiring of backpropagation autograd's."""

import copy
import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from architectures import CASES
from attach_case import attached, batch, grads, same, small, step
from torch import Tensor, nn

import wiring
from compiler import InputError, compile
from runtime import BackendError, Learner, attach

ZOO = [
    *(("bce", "ekdaa"), ("mse", "lra_e"), ("nll", "sdfa"), ("two_inputs", "dkp"), ("swish", "rec_lra"), ("tied_layers", "dfa")),
    *(("preact_resnet", "ekdaa"), ("convnext", "dkp"), ("mobilenet_v2", "rec_lra")),
]


def both(model: nn.Module, preset: str, x: Any, y: Any, loss: Any = F.cross_entropy, **options: Any) -> None:
    """One step by the learner and one by ``backward``; everything that they leave behind must be equal."""
    twin = copy.deepcopy(model)
    with warnings.catch_warnings(action="ignore"):
        learner = Learner(compile(model, wiring.PRESETS[preset](), (x, y), loss, **options))
        own = attach(twin, wiring.PRESETS[preset](), x, **options)
    torch.manual_seed(1)
    want = learner.learn(x, y)
    torch.manual_seed(1)
    output = own(*x) if isinstance(x, tuple) else own(x)
    loss(output, y).backward()
    assert torch.equal(output, want.output)
    same(grads(own), grads(learner))
    for (name, value), other in zip(own.state_dict().items(), learner.state_dict().values(), strict=True):
        assert torch.equal(value, other), name


@pytest.mark.parametrize("preset", sorted(wiring.PRESETS))
def test_a_network_with_batch_statistics_and_dropout_under_every_preset(preset: str) -> None:
    both(small(), preset, *batch())


@pytest.mark.parametrize(("name", "preset"), ZOO)
def test_other_networks_and_losses(name: str, preset: str) -> None:
    torch.manual_seed(0)
    case = CASES[name]
    both(case.build(), preset, case.inputs(), case.labels(), case.loss)


class Residual(nn.Module):
    """A convolution, a block of two with batch norm and a sum, dropout on maps, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = (nn.Conv2d(c, 4, 3, padding=1, bias=False) for c in (3, 4, 4))
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(3))
        self.drop, self.head = nn.Dropout2d(0.3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norms[0](self.stem(x)))
        out = self.norms[2](self.two(torch.relu(self.norms[1](self.one(x)))))
        x = self.drop(torch.relu(out + x))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class Attention(nn.Module):
    """One layer of self-attention, written out: ``[N, T, 8] -> [N, 5]``."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.out, self.head, self.norm = nn.Linear(8, 24), nn.Linear(8, 8), nn.Linear(8, 5), nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.mix(x).chunk(3, -1)
        x = self.norm(x + F.gelu(self.out(F.dropout(torch.softmax(q @ k.transpose(1, 2) / 8**0.5, -1), 0.1, self.training) @ v)))
        logits: Tensor = self.head(x.mean(1))
        return logits


class Gated(nn.Module):
    """A GRU cell, whose operators work in place on their own intermediate values."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(6, 4), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.tanh(self.cell(x)))
        return logits


@pytest.mark.parametrize(
    ("build", "shape", "preset"),
    [
        (Residual, (3, 6, 6), "bp"),
        (Residual, (3, 6, 6), "rec_lra"),
        (Attention, (4, 8), "bp"),
        (Attention, (4, 8), "dfa"),
        (Gated, (6,), "bp"),
        (Gated, (6,), "drtp"),
    ],
)
def test_residual_attention_and_recurrent_networks(build: Any, shape: tuple[int, ...], preset: str) -> None:
    source = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    both(build(), preset, torch.randn(4, *shape, generator=source), torch.randint(5, (4,), generator=source))


def test_in_channels_last_and_with_keywords() -> None:
    source = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, 6, 6, generator=source).to(memory_format=torch.channels_last)
    torch.manual_seed(0)
    model = Residual()
    twin = copy.deepcopy(model)
    y = torch.randint(5, (4,), generator=source)
    both(model, "dfa", x, y, layout="channels_last")
    own = attach(twin, wiring.bp(), {"x": x})
    assert own(x=x).shape == (4, 5)


@pytest.mark.parametrize("normed", [True, False])
def test_backpropagation_is_autograd(normed: bool) -> None:
    own = attached("bp", normed)
    twin = copy.deepcopy(own.model)
    for size in (8, 5):  # a smaller last batch compiles once more
        output = step(own, *batch(size))
        assert torch.equal(output, step(twin, *batch(size)))
    same(grads(own.model), grads(twin))
    assert all(torch.equal(a, b) for a, b in zip(own.buffers(), twin.buffers(), strict=True))


class Several(nn.Module):
    """Returns its features and its logits."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = torch.tanh(self.body(x))
        return {"features": features, "logits": self.head(features)}


def test_the_picked_output_of_several() -> None:
    torch.manual_seed(0)
    (x, y), model = batch(), Several()
    twin, own = copy.deepcopy(model), attach(model, wiring.bp(), x, output="logits")
    step(own, x, y)
    F.cross_entropy(twin(x)["logits"], y).backward()
    same(grads(own.model), grads(twin))
    with torch.no_grad():
        assert torch.equal(own(x), twin(x)["logits"])


class Averaging(nn.Module):
    """Scales by a running average that the same forward pass renews afterwards, so its backward pass reads the old value."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
        self.register_buffer("scale", torch.full((8,), 2.0))

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.body(x)) * self.scale
        self.scale.copy_(0.5 * self.scale + hidden.detach().abs().mean(0))
        logits: Tensor = self.head(hidden)
        return logits


def test_a_buffer_that_is_read_and_renewed() -> None:
    """Under ``bp``, whose errors pass the buffer; ``dfa`` sends them in front of it."""
    both(Averaging(), "bp", *batch())


@pytest.mark.parametrize("backend", ["threads", "auto"])
def test_other_backends(backend: str) -> None:
    own, want = attach(small(), wiring.dkp(), batch()[0], backend=backend, streams=2), attached("dkp")
    for model in (own, want):
        step(model, *batch())
    same(grads(own), grads(want))


def test_a_backend_that_runs_a_step_as_one_graph_is_refused() -> None:
    with pytest.raises(BackendError, match=r"'graph' runs a step as one graph.*Use 'serial'"):
        attach(small(), wiring.dkp(), batch()[0], backend="graph")


def test_inputs_of_another_kind_are_refused() -> None:
    with pytest.raises(InputError, match=r"dtype torch.float64"):
        attached()(batch()[0].double())
