"""Steps that are tried leave no trace: rehearsals, measurements of time, warming up."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from compiler import compile
from runtime import Learner
from runtime.rehearsal import rehearse
from runtime.timing import step_times
from runtime.unchanged import unchanged
from wiring import kp

X, Y = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.arange(4) % 2


class Counting(nn.Module):
    """Draws random numbers, and counts its steps in a buffer that no state dict has."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.norm, self.out = nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.seen.add_(1)
        return self.out(nn.functional.dropout(torch.tanh(self.norm(self.hidden(x))), 0.2)) / self.seen


def fresh() -> Learner:
    torch.manual_seed(0)
    return Learner(compile(Counting(), kp(), (X, Y)))


def state(learner: Learner) -> dict[str, Tensor]:
    numbers = [*learner.named_parameters(), *learner.named_buffers()]
    gradients = [(f"gradient of {name}", p.grad) for name, p in learner.named_parameters() if p.grad is not None]
    return {"generator": torch.get_rng_state(), **{name: value.detach().clone() for name, value in (*numbers, *gradients)}}


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    return [name for name in {**one, **other} if name not in one or name not in other or not torch.equal(one[name], other[name])]


TRIED: dict[str, Callable[[Learner], object]] = {
    "rehearse": lambda learner: rehearse(learner, X, Y),
    "step_times": lambda learner: step_times({"kp": learner}, X, Y, rounds=2),
}


@pytest.mark.parametrize("tried", TRIED)
@pytest.mark.parametrize("gradients", [False, True])
def test_what_is_tried_leaves_no_trace(tried: str, gradients: bool) -> None:
    learner = fresh()
    if gradients:
        learner.learn(X, Y)
    places = [parameter.grad for parameter in learner.parameters()]
    before = state(learner)
    TRIED[tried](learner)
    assert "model.seen" in before
    assert ("gradient of model.out.weight" in before) == gradients
    assert differing(state(learner), before) == []
    assert all(parameter.grad is place for parameter, place in zip(learner.parameters(), places, strict=True))


def test_a_step_that_fails_leaves_no_trace() -> None:
    learner = fresh()
    before = state(learner)

    def step() -> None:
        learner.learn(X, Y)
        torch.optim.SGD(learner.parameters(), lr=1.0).step()
        assert {"generator", "model.seen", "model.out.weight"} <= set(differing(state(learner), before))
        raise KeyError

    with pytest.raises(KeyError), unchanged(learner):
        step()
    assert differing(state(learner), before) == []
