"""The graph executor's bookkeeping, with a CUDA graph that is replayed on the CPU: what it keeps, copies, notices and captures."""

import copy
from collections.abc import Callable

import pytest
import torch
from replay_case import Device, pretend
from torch import Tensor, nn

from compiler import compile
from runtime import Learner
from runtime.errors import BackendError
from runtime.models import build_model
from wiring import parse_wiring


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    return pretend(monkeypatch)


def batch(size: int = 6) -> tuple[Tensor, Tensor]:
    return torch.randn(size, 3, 8, 8), torch.arange(size) % 10


def program(wiring: str = "dkp", model: nn.Module | None = None):
    torch.manual_seed(0)
    return compile(model or build_model("resnet8:width=4", (3, 8, 8), 10), parse_wiring(wiring), batch())


def pair(wiring: str = "dkp", model: nn.Module | None = None) -> tuple[Learner, Learner]:
    """The same learner on ``serial`` and on ``graph``."""
    compiled = program(wiring, model)
    return Learner(copy.deepcopy(compiled)), Learner(copy.deepcopy(compiled), backend="graph", streams=3)


def gradients(learner: Learner) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in learner.named_parameters() if p.grad is not None}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("wiring", ["bp", "drtp", "rec_lra", "ekdaa"])
def test_replays_equal_serial_over_steps_with_an_optimiser(device: Device, wiring: str) -> None:
    learners = pair(wiring)
    optimizers = [torch.optim.SGD(learner.parameters(), lr=0.05, momentum=0.9) for learner in learners]
    for _ in range(5):
        x, y = batch()
        for learner, optimizer in zip(learners, optimizers, strict=True):
            learner.learn(x, y)
            optimizer.step()
            optimizer.zero_grad()
    assert same(learners[0].state_dict(), learners[1].state_dict())
    assert [graph.replays for graph in device.graphs] == [5]


def test_steps_that_nobody_clears_add_up(device: Device) -> None:
    learners = pair()
    for x, y in (batch(), batch(), batch()):
        for learner in learners:
            learner.learn(x, y)
    assert same(gradients(learners[0]), gradients(learners[1]))


def test_steps_of_two_shapes_add_up(device: Device) -> None:
    learners = pair()
    for x, y in (batch(), batch(4), batch(), batch(4)):
        for learner in learners:
            learner.learn(x, y)
    assert same(gradients(learners[0]), gradients(learners[1]))
    assert len(device.graphs) == 2


def test_a_result_that_is_kept_stays(device: Device) -> None:
    _, learner = pair()
    first = learner.learn(*batch())
    kept = first.loss.item(), first.output.clone()
    learner.zero_grad()
    learner.learn(*batch())
    assert first.loss.item() == kept[0]
    assert torch.equal(first.output, kept[1])


def test_dropout_draws_what_serial_draws(device: Device) -> None:
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(192, 16), nn.Tanh(), nn.Dropout(0.5), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 10)
    )
    x, y = batch()
    losses = []
    for learner in pair("dfa", model):
        torch.manual_seed(3)
        losses.append([learner.learn(x, y).loss.item() for _ in range(4)])
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 4, "each replay draws anew"


@pytest.mark.parametrize("moved", ["assigned", "to"])
def test_parameters_that_have_moved_are_noticed(device: Device, moved: str) -> None:
    learners = pair()
    x, y = batch()
    for learner in learners:
        learner.learn(x, y)
        learner.zero_grad()
        state = {
            name: value.clone() * 0.5 if value.is_floating_point() else value.clone()
            for name, value in learner.state_dict().items()
        }
        if moved == "assigned":
            learner.load_state_dict(state, assign=True)
        else:
            for parameter in learner.parameters():
                parameter.data = parameter.data.clone() * 0.5
        learner.learn(x, y)
    assert same(gradients(learners[0]), gradients(learners[1]))
    assert len(device.graphs) == 2


class Shrinking(torch.optim.Optimizer):
    """Steps that are halved each time."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    state = self.state[parameter]
                    if not state:
                        state["rate"] = torch.ones(())
                    parameter.sub_(group["lr"] * state["rate"] * parameter.grad)
                    state["rate"].mul_(0.5)


OPTIMISERS: dict[str, Callable[[Learner], torch.optim.Optimizer]] = {
    "plain": lambda learner: torch.optim.SGD(learner.parameters(), lr=0.05),
    "momentum": lambda learner: torch.optim.SGD(learner.parameters(), lr=0.05, momentum=0.9, nesterov=True),
    "dampening": lambda learner: torch.optim.SGD(learner.parameters(), lr=0.05, momentum=0.9, dampening=0.5),
    "state that starts elsewhere than at zero": lambda learner: Shrinking(learner.parameters(), {"lr": 0.05}),
}


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_an_included_optimiser_equals_steps_of_its_own(device: Device, optimiser: str) -> None:
    learners = pair("dkp")
    optimizers = [OPTIMISERS[optimiser](learner) for learner in learners]
    learners[1].include(optimizers[1])
    for _ in range(5):
        x, y = batch()
        losses = [learner.learn(x, y).loss for learner in learners]
        assert torch.equal(*losses)
        optimizers[0].step()
        optimizers[0].zero_grad()
    assert same(learners[0].state_dict(), learners[1].state_dict())
    assert [graph.replays for graph in device.graphs] == [4], "all but the first step are replays"


def test_a_learning_rate_that_changes_is_noticed_in_the_graph(device: Device) -> None:
    learners = pair("dfa")
    optimizers = [OPTIMISERS["momentum"](learner) for learner in learners]
    learners[1].include(optimizers[1])
    schedulers = [torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.1) for optimizer in optimizers]
    for _ in range(6):
        x, y = batch()
        for place, learner in enumerate(learners):
            learner.learn(x, y)
            if place == 0:
                optimizers[0].step()
                optimizers[0].zero_grad()
            schedulers[place].step()
    assert same(learners[0].state_dict(), learners[1].state_dict())
    assert len(device.graphs) == 2


def test_an_optimisers_state_that_is_loaded_is_noticed_in_the_graph(device: Device) -> None:
    learners = pair("dfa")
    optimizers = [OPTIMISERS["momentum"](learner) for learner in learners]
    learners[1].include(optimizers[1])
    early = None
    for number in range(6):
        x, y = batch()
        for place, learner in enumerate(learners):
            learner.learn(x, y)
            if place == 0:
                optimizers[0].step()
                optimizers[0].zero_grad()
        if number == 1:
            early = copy.deepcopy(optimizers[0].state_dict())
        if number == 3:
            assert early is not None
            for optimizer in optimizers:
                optimizer.load_state_dict(copy.deepcopy(early))
    assert same(learners[0].state_dict(), learners[1].state_dict())


def test_an_optimiser_that_counts_on_the_host_is_refused(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    _, learner = pair("dfa")
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.1, momentum=0.9)
    learner.include(optimizer)
    learner.learn(*batch())
    next(iter(optimizer.state.values()))["momentum_buffer"] = torch.empty(1, device="meta")
    with pytest.raises(BackendError, match="SGD keeps part of its state on the host"):
        learner.learn(*batch())


def test_what_cannot_be_captured_is_refused_and_the_stream_is_the_callers_again(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, learner = pair("dfa")

    def broken(*_: object, **__: object) -> None:
        device.current = object()  # type: ignore[assignment]
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(torch.cuda, "graph", broken)
    with pytest.raises(
        BackendError, match=r"cannot be captured in a CUDA graph \(operation not permitted when stream is capturing\)"
    ):
        learner.learn(*batch())
    assert device.current is device.main
