"""Every error of compiling and learning: the message names the thing, the reason and the way out."""

import functools
import math
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import compiler.synapses as synapses
from compiler import (
    CaptureError,
    CreditError,
    EdgeError,
    InputError,
    LabelError,
    LossError,
    OutputError,
    SiteError,
    WiringWarning,
    compile,
)  # fmt: skip
from runtime.errors import BackendError, NonFiniteLoss
from runtime.learner import Learner
from wiring import (
    Channelwise,
    Dense,
    Direct,
    Edge,
    ErrorwireError,
    Explicit,
    Gradient,
    InvalidWiring,
    KolenPollack,
    LikeForward,
    Mirror,
    Pairwise,
    Rule,
    Sites,
    Target,
    Wiring,
    bp,
    dfa,
    drtp,
    fa,
    rec_lra,
    sparse_dfa,
)  # fmt: skip


def data() -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(0)
    return torch.randn(4, 6, generator=source), torch.randint(5, (4,), generator=source)


def mlp(activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    """Sites ``1`` and ``3``."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), activation(), nn.Linear(8, 7), activation(), nn.Linear(7, 5))


class Written(nn.Module):
    """A hidden layer, something written in between, and a head."""

    def __init__(self, write: Callable[[Tensor], Any], leave: Callable[[Tensor], Any] = lambda v: v) -> None:
        super().__init__()
        self.first, self.head, self.write, self.leave = nn.Linear(6, 8), nn.Linear(8, 5), write, leave

    def forward(self, x: Tensor) -> Any:
        return self.leave(self.head(self.write(self.first(x))))


class Sign(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sign(x)


class Cubed(torch.autograd.Function):
    """An own function, whose backward export would lose."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x**3

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


def refused(error: type[ErrorwireError], *words: str) -> Any:
    """The error, with every word in its message, in this order."""
    return pytest.raises(error, match="(?s)" + ".*".join(re.escape(word) for word in words))


def drawn(*edges: Edge, **rule: Any) -> Wiring:
    return Wiring(name="mine", rules=(Rule(topology=Explicit(edges=edges), **({"synapse": Dense()} | rule)),))


def edge(text: str, **options: Any) -> Edge:
    source, _, target = text.partition("->")
    return Edge(source=source, target=target, **options)


# ------------------------------------------------------------------------------------------------ capture


def data_dependent(x: Tensor) -> Tensor:
    return torch.relu(x) if x.sum() > 0 else torch.tanh(x)


def test_control_flow_on_values_cannot_be_captured() -> None:
    with refused(CaptureError, "Written", "torch.export", "Rewrite the data-dependent part"):
        compile(Written(data_dependent), bp(), data())


def test_an_own_autograd_function_is_refused_by_name() -> None:
    with refused(CaptureError, "autograd.Function", "Cubed", "another gradient", "(f(x) - x).detach()"):
        compile(Written(lambda x: Cubed.apply(x)), bp(), data())
    assert torch.equal(Cubed.apply(torch.tensor([2.0])), torch.tensor([8.0])), "and works again outside"


def test_an_input_changed_in_place_is_refused() -> None:
    class Changing(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.mul_(2.0))

    with refused(CaptureError, "Changing", "input", "in place", "Clone the input"):
        compile(Changing(6, 5), bp(), data())


def test_an_example_without_a_tensor() -> None:
    with refused(InputError, "no tensor", "example=(x, y)"):
        compile(mlp(), bp(), (3, data()[1]))


def test_an_example_of_a_shape_that_the_model_cannot_take() -> None:
    with pytest.raises(ErrorwireError) as caught:
        compile(mlp(), bp(), (torch.randn(4, 3), data()[1]))
    assert "data-dependent" not in str(caught.value)


# ------------------------------------------------------------------------------------------------ outputs


@pytest.mark.parametrize(
    ("leave", "words"),
    [
        (lambda v: (v, v), ("tuple", "output=...", "an index from 0 to 1")),
        (lambda v: {"logits": v, "aux": v}, ("dict", "output=...", "'logits', 'aux'")),
    ],
)
def test_several_outputs_need_a_choice(leave: Any, words: tuple[str, ...]) -> None:
    with refused(OutputError, words[0], "not one tensor") as caught:
        compile(Written(torch.tanh, leave), bp(), data())
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("leave", "output", "words"),
    [
        (lambda v: (v, v), 2, ("output=2", "tuple", "an index from 0 to 1")),
        (lambda v: (v, v), "logits", ("output='logits'", "tuple", "an index from 0 to 1")),
        (lambda v: {"logits": v}, "aux", ("output='aux'", "dict", "'logits'")),
        (lambda v: v, "logits", ("output='logits'", "names nothing")),
        (lambda v: {"logits": [v, v]}, "logits", ("not one tensor",)),
        (lambda v: (v, v), lambda value: value, ("tuple", "an index from 0 to 1")),
    ],
)
def test_a_choice_that_names_nothing(leave: Any, output: Any, words: tuple[str, ...]) -> None:
    with refused(OutputError, *words):
        compile(Written(torch.tanh, leave), bp(), data(), output=output)


def test_a_function_for_the_output_that_fails() -> None:
    with refused(OutputError, "output"):
        compile(mlp(), bp(), data(), output=lambda value: value["logits"])


def test_an_output_without_a_batch_axis() -> None:
    with refused(OutputError, "batch axis", "output=..."):
        compile(Written(torch.tanh, lambda v: v.mean()), bp(), (data()[0], torch.tensor(0.0)), F.mse_loss)


# ------------------------------------------------------------------------------------------------ sites


def test_a_model_without_a_site() -> None:
    with refused(SiteError, "'dfa'", "no site", "as under backpropagation", "Sites(modules=...)", "bp()"):
        compile(nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 5)), dfa(), data())
    compile(nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 5)), bp(), data())


@pytest.mark.parametrize("word", ["include", "exclude"])
def test_a_pattern_of_sites_that_names_none(word: str) -> None:
    with refused(SiteError, "'convs.*'", "names no site", "Sites: 1, 3"):
        compile(mlp(), dfa().model_copy(update={"sites": Sites(**{word: ("convs.*",)})}), data())


def test_a_pattern_of_modules_that_names_none() -> None:
    with refused(SiteError, "modules='convs.*'", "names no module", "named_modules()"):
        compile(mlp(), dfa().model_copy(update={"sites": Sites(modules=("convs.*",))}), data())


def test_a_pattern_of_blocks_that_names_none() -> None:
    with refused(SiteError, "blocks='convs.*'", "names no module", "1, 3"):
        compile(mlp(), dfa().model_copy(update={"sites": Sites(blocks=("convs.*",))}), data())


def test_a_rule_for_no_site() -> None:
    rules = (dfa().rules[0].model_copy(update={"at": "convs.*"}), bp().rules[0])
    with refused(SiteError, "'mine'", "'convs.*'", "names no site", "Sites: 1, 3, output"):
        compile(mlp(), Wiring(name="mine", rules=rules), data())


def test_a_site_without_a_rule() -> None:
    with refused(SiteError, "No rule", "'mine'", "site '3'", "at='*'"):
        compile(mlp(), Wiring(name="mine", rules=(dfa().rules[0].model_copy(update={"at": "1"}),)), data())


def test_a_frozen_pattern_that_names_no_parameter() -> None:
    with refused(SiteError, "'dfa'", "freezes 'conv.*'", "names no parameter", "0.weight"):
        compile(mlp(), dfa().model_copy(update={"frozen": ("conv.*",)}), data())


# ------------------------------------------------------------------------------------------------ edges


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        (("output->nowhere", "output->1", "output->3"), ("'output' -> 'nowhere'", "'nowhere' is no site", "Sites: 1, 3, output")),
        (("7->1", "output->3"), ("'7' -> '1'", "'7' is no site", "Sites: 1, 3, output")),
        (("1->output", "output->3"), ("into 'output'", "the loss's", "hidden sites")),
        (("output->1", "output->1", "output->3"), ("'output' -> '1'", "twice", "once")),
        (("1->3", "3->1"), ("circle", "'1'", "'3'", "drop an edge")),
        (("1->1", "output->3"), ("circle", "'1' -> '1'", "drop an edge")),
    ],
    ids=["unknown target", "unknown source", "into the output", "doubled", "circle", "to itself"],
)
def test_edges_that_cannot_be(edges: tuple[str, ...], words: tuple[str, ...]) -> None:
    with refused(EdgeError, "'mine'", *words):
        compile(mlp(), drawn(*map(edge, edges)), data())


def test_a_mirror_between_sites_that_are_not_adjacent() -> None:
    with refused(EdgeError, "'output' -> '1'", "mirror", "without passing another site", "Dense()"):
        compile(mlp(), drawn(edge("output->1", synapse=Mirror()), edge("output->3")), data())


def test_a_mirror_under_a_direct_topology_is_refused_by_the_rule_itself() -> None:
    with refused(InvalidWiring, "mirror", "'direct' spans several", "Pairwise()", "Dense()"):
        Rule(topology=Direct(), synapse=Mirror())


def test_channelwise_needs_equal_channels() -> None:
    with refused(EdgeError, "channelwise", "7 channels of '3'", "8 of '1'", "Pointwise()"):
        compile(mlp(), drawn(edge("3->1", synapse=Channelwise()), edge("output->3")), data())


def test_a_sparse_synapse_with_more_sources_than_there_are() -> None:
    with refused(EdgeError, "sparse", "'output'", "fan_in=6", "5 units", "fan_in <= 5"):
        compile(mlp(), sparse_dfa(fan_in=6), data())


def test_a_dense_synapse_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synapses, "LARGEST", 39)
    with refused(EdgeError, "dense", "'output' to '1'", "40 numbers", "Pointwise()", "ByShape(maps=Pointwise())"):
        compile(mlp(), dfa(), data())


def test_an_own_synapse_cannot_start_like_forward_weights() -> None:
    rule = Rule(topology=Direct(), synapse=Dense(init=LikeForward()))
    with refused(EdgeError, "'like_forward'", "forward weights", "Mirror"):
        compile(mlp(), Wiring(name="mine", rules=(rule,)), data())


def test_time_major_sites_cannot_be_carried_sample_by_sample() -> None:
    class TimeMajor(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(6, 8), nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.head(torch.tanh(self.first(x.transpose(0, 1))).mean(0))
            return logits

    x = torch.randn(4, 7, 6)
    with refused(EdgeError, "[7, 4, 8]", "batch of 4", "batch_first=True", "Mirror()"):
        compile(TimeMajor(), dfa(), (x, data()[1]))
    compile(TimeMajor(), fa(), (x, data()[1]))


def test_time_major_sites_as_long_as_the_batch_are_refused_too() -> None:
    class TimeMajor(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(6, 8), nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.head(torch.tanh(self.first(x.transpose(0, 1))).mean(0))
            return logits

    with refused(EdgeError, "[4, 4, 8]", "batch_first=True"):
        compile(TimeMajor(), dfa(), (torch.randn(4, 4, 6), data()[1]))


def test_time_major_sites_twice_as_long_as_the_batch_are_refused_too() -> None:
    class TimeMajor(Written):
        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.head(torch.tanh(self.first(x.transpose(0, 1))).mean(0))
            return logits

    with refused(EdgeError, "[8, 4, 8]", "batch_first=True"):
        compile(TimeMajor(torch.tanh), dfa(), (torch.randn(4, 8, 6), data()[1]))


def test_as_many_tokens_as_samples_batch_first() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Flatten(), nn.Linear(32, 5))
    program = Learner(compile(model, dfa(), (torch.randn(4, 4, 6), data()[1])))
    assert program.error_synapses()["output->1"].shape == (5, 4, 8)


# ------------------------------------------------------------------------------------------------ credit


def test_a_site_that_hears_nobody() -> None:
    with refused(CreditError, "'mine'", "0.weight, 0.bias", "site '1'", "hears nobody", "frozen="):
        compile(mlp(), drawn(edge("output->3")), data())


def test_an_unused_parameter() -> None:
    model = Written(torch.tanh)
    model.extra = nn.Linear(3, 3)
    for wiring in (bp(), dfa()):
        with refused(CreditError, "extra.bias, extra.weight", "forward pass", "does not read", "frozen=", "requires_grad_(False)"):
            compile(model, wiring, data())
    compile(model, bp().model_copy(update={"frozen": ("extra.*",)}), data())
    model.extra.requires_grad_(False)
    compile(model, bp(), data())


def test_a_parameter_that_only_a_detached_value_reads() -> None:
    model = Written(torch.tanh)
    model.gate = nn.Linear(8, 8)
    model.write = lambda x: torch.tanh(x) * model.gate(x).detach()
    with refused(CreditError, "gate.bias, gate.weight", "frozen="):
        compile(model, bp(), data())


@pytest.mark.parametrize("wiring", [bp(), fa(), dfa()], ids=lambda w: w.name)
def test_gradient_credit_at_a_sign(wiring: Wiring) -> None:
    with refused(
        CreditError, f"'{wiring.name}'", "site '1.sign' (sign)", "zero almost everywhere", "Target(beta=...)", "straight_through"
    ):
        compile(mlp(Sign), wiring, data())


@pytest.mark.parametrize(
    "rule",
    [
        Rule(topology=Direct(), synapse=Dense(), credit=Target(beta=1.0)),
        Rule(topology=Pairwise(), credit=Gradient(surrogate="straight_through")),
        rec_lra(beta=1.0).rules[0],
    ],
)
def test_what_the_message_offers_works(rule: Rule) -> None:
    learner = Learner(compile(mlp(Sign), Wiring(name="mine", rules=(rule,)), data()))
    learner.learn(*data())
    assert all(parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in learner.forward_parameters())


@pytest.mark.parametrize(
    "write", [lambda x: torch.tanh(2 * torch.round(x)), lambda x: torch.tanh(torch.round(x))], ids=["inside", "head"]
)
def test_a_step_function_inside_a_region(write: Callable[[Tensor], Tensor]) -> None:
    with refused(CreditError, "'round'", "region", "zero almost everywhere", "(f(x) - x).detach()"):
        compile(Written(write), bp(), data())


def test_the_straight_through_estimator_that_the_messages_offer_works() -> None:
    for step in (torch.round, torch.sign):
        compile(Written(lambda x, step=step: torch.tanh(x + (step(x) - x).detach())), bp(), data())


def test_frozen_credit_and_the_silent_topology_belong_together() -> None:
    from wiring import Frozen

    with refused(InvalidWiring, "frozen", "silent", "both, or neither"):
        Rule(topology=Pairwise(), credit=Frozen())


def test_plasticity_that_copies_forward_updates_needs_a_mirror() -> None:
    with refused(InvalidWiring, "'kolen_pollack'", "Mirror(weights='random')"):
        Rule(topology=Direct(), synapse=Dense(), plasticity=KolenPollack())


# ------------------------------------------------------------------------------------------------ targets


@pytest.mark.parametrize(
    ("labels", "loss"),
    [
        (torch.randn(4, 3), lambda v, y: (v[:, :3] - y).square().mean()),
        (torch.randn(4), lambda v, y: (v[:, 0] - y).square().mean()),
        ({"class": torch.zeros(4, dtype=torch.int64)}, lambda v, y: F.cross_entropy(v, y["class"])),
    ],
    ids=["vectors of another length", "numbers", "a dict"],
)
def test_targets_need_labels_that_can_be_one_hot(labels: Any, loss: Any) -> None:
    with refused(LabelError, "'target'", "[4, 5]", "class indices [N]", "another signal"):
        compile(mlp(), drtp(), (data()[0], labels), loss)


@pytest.mark.parametrize(
    "activation", [nn.ReLU, nn.GELU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.Softplus, nn.Mish, nn.Tanhshrink, nn.LogSigmoid]
)
def test_targets_at_open_ended_activations_warn(activation: type[nn.Module]) -> None:
    with pytest.warns(WiringWarning, match=r"'drtp'.*'1'.*do not saturate.*Use tanh or sigmoid"):
        compile(mlp(activation), drtp(), data())


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.Hardsigmoid, nn.ReLU6])
def test_targets_at_saturating_activations_do_not_warn(activation: type[nn.Module]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", WiringWarning)
        compile(mlp(activation), drtp(), data())


# ------------------------------------------------------------------------------------------------ losses


def test_a_loss_that_does_not_read_the_output() -> None:
    def blind(v: Tensor, y: Tensor) -> Tensor:
        return y.float().mean()

    with refused(LossError, "'blind'", "does not depend on the model's output", "first argument"):
        compile(mlp(), bp(), data(), blind)
    with refused(LossError, "'detached'", "does not depend"):
        compile(mlp(), bp(), data(), _named("detached", lambda v, y: F.cross_entropy(v.detach(), y)))


def _named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    function.__name__ = name
    return function


def test_a_loss_that_is_no_scalar() -> None:
    with refused(LossError, "'CrossEntropyLoss'", "shape [4]", "not one number", "reduction='mean'"):
        compile(mlp(), bp(), data(), nn.CrossEntropyLoss(reduction="none"))
    with refused(LossError, "'pair'", "tuple", "not one number"):
        compile(mlp(), bp(), data(), _named("pair", lambda v, y: (F.cross_entropy(v, y), v)))


def test_a_partial_loss_is_named_after_its_function() -> None:
    with refused(LossError, "Loss 'cross_entropy'"):
        compile(mlp(), bp(), data(), functools.partial(F.cross_entropy, reduction="none"))


@pytest.mark.parametrize("labels", [torch.zeros(4), torch.zeros(4, 3)], ids=["numbers for classes", "rows of another length"])
def test_a_loss_that_refuses_its_labels_is_named(labels: Tensor) -> None:
    with pytest.raises(ErrorwireError, match=r"cross_entropy"):
        compile(mlp(), bp(), (data()[0], labels))


def test_a_loss_with_parameters_is_refused() -> None:
    class Temperature(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, v: Tensor, y: Tensor) -> Tensor:
            return F.cross_entropy(v * self.scale, y)

    with pytest.raises(ErrorwireError, match=r"scale"):
        compile(mlp(), bp(), data(), Temperature())


def test_labels_that_do_not_go_with_the_batch() -> None:
    with refused(LabelError, "shape [3]", "output of shape [4, 5]", "one label a sample"):
        compile(mlp(), bp(), (data()[0], data()[1][:3]))


# ------------------------------------------------------------------------------------------------ learning


@pytest.fixture(scope="module")
def learner() -> Learner:
    return Learner(compile(mlp(), dfa(), data()))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (torch.tensor([0, 1, 5, 2]), ("hold 5", "5 classes", "0 to 4", "-100 to ignore")),
        (torch.tensor([0, -1, 3, 2]), ("hold -1", "5 classes", "0 to 4")),
        (torch.zeros(4), ("torch.float32", "compiled for torch.int64", ".to(torch.int64)")),
        (torch.zeros(4, dtype=torch.int32), ("torch.int32", "compiled for torch.int64", ".to(torch.int64)")),
        (torch.zeros(4, 1, dtype=torch.int64), ("shape [4, 1]", "1 axes as in [4]")),
        (torch.zeros(3, dtype=torch.int64), ("shape [3]", "output of shape [4, 5]", "one label a sample")),
        ([torch.zeros(4, dtype=torch.int64)] * 2, ("1 label tensors", "got 2")),
        (None, ("Labels", "NoneType", "compiled for a Tensor")),
    ],
    ids=["above", "below", "float", "int32", "axes", "count", "two", "none"],
)
def test_labels_that_the_program_cannot_take(learner: Learner, labels: Any, words: tuple[str, ...]) -> None:
    with refused(LabelError, *words):
        learner.learn(data()[0], labels)


def test_the_ignored_index_is_no_error() -> None:
    for loss, index in (
        (F.cross_entropy, -100),
        (nn.CrossEntropyLoss(ignore_index=9), 9),
        (nn.CrossEntropyLoss(label_smoothing=0.1), -100),
    ):
        program = Learner(compile(mlp(), dfa(), data(), loss))
        assert torch.isfinite(program.learn(data()[0], torch.tensor([0, index, 1, 2])).loss)
        with refused(LabelError, "hold 5", f"{index} to ignore"):
            program.learn(data()[0], torch.tensor([0, 5, 1, 2]))


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (torch.randn(4, 6).double(), ("Input 0", "torch.float64", "compiled for torch.float32", ".to(torch.float32)")),
        (torch.randn(4, 2, 3), ("Input 0", "shape [4, 2, 3]", "2 axes as in [4, 6]")),
        ((torch.randn(4, 6), torch.randn(4, 6)), ("1 inputs", "got 2")),
        ((3.0,), ("Input 0", "float", "Tensor")),
    ],
    ids=["dtype", "axes", "two", "number"],
)
def test_inputs_that_the_program_cannot_take(learner: Learner, x: Any, words: tuple[str, ...]) -> None:
    with refused(InputError, *words):
        learner.learn(x, data()[1])


def test_a_shape_that_the_error_synapses_cannot_serve() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    program = Learner(compile(model, dfa(), (torch.randn(4, 3, 8, 8), data()[1])))
    with refused(EdgeError, "'output->1'", "[5, 4, 6, 6]", "[5, 4, 8, 8]", "Pointwise()"):
        program.learn(torch.randn(4, 3, 6, 6), data()[1])


def test_an_empty_batch(learner: Learner) -> None:
    with pytest.raises(ErrorwireError, match=r"empty|no sample"):
        learner.learn(torch.randn(0, 6), torch.zeros(0, dtype=torch.int64))


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_changes_nothing(poison: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 5))
    program = Learner(compile(model, dfa(), data()))
    program.learn(*data())
    state = {name: value.clone() for name, value in program.state_dict().items()}
    grads = {name: None if p.grad is None else p.grad.clone() for name, p in program.named_parameters()}
    x = data()[0].clone()
    x[1, 2] = poison
    with refused(NonFiniteLoss, "nan", "Nothing of this step", "learning rate"):
        program.learn(x, data()[1])
    assert all(torch.equal(value, state[name]) for name, value in program.state_dict().items())
    for name, parameter in program.named_parameters():
        assert (parameter.grad is None) == (grads[name] is None)
        assert parameter.grad is None or torch.equal(parameter.grad, grads[name])


def test_an_activation_called_output() -> None:
    model = nn.Sequential()
    for name, module in (("first", nn.Linear(6, 8)), ("output", nn.Tanh()), ("head", nn.Linear(8, 5))):
        model.add_module(name, module)
    program = Learner(compile(model, dfa(), data()))
    program.learn(*data())
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_frozen_parameter_with_brackets_in_its_name() -> None:
    model = nn.Sequential()
    for name, module in (("a[0]", nn.Linear(6, 8)), ("b", nn.Tanh()), ("c", nn.Linear(8, 5))):
        model.add_module(name, module)
    compile(model, bp().model_copy(update={"frozen": ("a[0].weight",)}), data())


def test_an_unknown_backend() -> None:
    with refused(BackendError, "'cuda-magic'", "Backends:", "serial"):
        Learner(compile(mlp(), dfa(), data()), backend="cuda-magic")


def test_every_error_is_an_errorwire_error() -> None:
    kinds = [
        CaptureError,
        CreditError,
        EdgeError,
        InputError,
        LabelError,
        LossError,
        OutputError,
        SiteError,
        NonFiniteLoss,
        BackendError,
    ]
    assert all(issubclass(kind, ErrorwireError) for kind in kinds)
    assert issubclass(InvalidWiring, ErrorwireError)
