"""Sums and means over the batch: what a loss says of itself, and what rules say of a parameter that they share."""

import functools
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from extending_case import batch, grads, network
from torch import Tensor, nn

from compiler import CreditError, LossError, compile
from compiler.signal import loss_name, sums
from runtime import Learner
from wiring import dfa, lra_e, mix

Reduction = Literal["mean", "sum"]

# ------------------------------------------------------------------------------------------------ losses


class Own(functools.partial[Tensor]):
    """A partial that is not flattened into another."""


@pytest.mark.parametrize(
    ("loss", "summed"),
    [
        (nn.CrossEntropyLoss(), False),
        (nn.CrossEntropyLoss(reduction="sum"), True),
        (functools.partial(nn.CrossEntropyLoss(reduction="sum")), True),
        (functools.partial(F.cross_entropy, reduction="sum"), True),
        (functools.partial(F.cross_entropy, reduction="mean"), False),
        (functools.partial(Own(F.cross_entropy, reduction="sum"), label_smoothing=0.1), True),
        (functools.partial(Own(F.cross_entropy, reduction="sum"), reduction="mean"), False),
        (F.cross_entropy, False),
    ],
)  # fmt: skip
def test_a_loss_says_whether_it_sums(loss: Any, summed: bool) -> None:
    assert sums(loss) == summed


def test_a_sum_behind_a_partial_is_that_sum() -> None:
    def step(loss: Any) -> dict[str, Tensor]:
        learner = Learner(compile(network(), lra_e(), batch(), loss=loss), backend="serial")
        learner.learn(*batch())
        return grads(learner)

    loss = nn.CrossEntropyLoss(reduction="sum")
    plain, behind = step(loss), step(functools.partial(loss))
    assert all(torch.equal(behind[name], value) for name, value in plain.items())


def test_a_loss_behind_a_partial_has_no_parameters_of_its_own() -> None:
    loss: Any = functools.partial(nn.AdaptiveLogSoftmaxWithLoss(4, 4, cutoffs=[2]))
    with pytest.raises(LossError, match="'AdaptiveLogSoftmaxWithLoss' has parameters of its own"):
        compile(network(), lra_e(), batch(), loss=loss)
    assert loss_name(loss) == "AdaptiveLogSoftmaxWithLoss"


# ------------------------------------------------------------------------------------------------ rules


class Shared(nn.Module):
    """What ``i`` makes is no site; both sites read it, and with ``skip`` the output does."""

    def __init__(self, skip: bool = False) -> None:
        super().__init__()
        self.i, self.a, self.b, self.c = nn.Linear(6, 7), nn.Linear(7, 7), nn.Linear(7, 7), nn.Linear(14 if skip else 7, 4)
        self.t1, self.t2 = nn.Tanh(), nn.Sigmoid()
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        x = self.i(x)
        heard = torch.cat([self.t1(self.a(x)), self.t2(self.b(x))]).unflatten(0, (2, -1)).sum(0)
        logits: Tensor = self.c(torch.cat([heard, x], 1) if self.skip else heard)
        return logits


def shared(first: Reduction, second: Reduction, **options: Any) -> dict[str, Tensor]:
    torch.manual_seed(0)
    wiring = mix({"t1": dfa(first), "t2": dfa(second)})
    loss = options.pop("loss", F.cross_entropy)
    learner = Learner(compile(Shared(**options).double(), wiring, batch(), loss=loss), backend="serial")
    learner.learn(*batch())
    return grads(learner)


def test_rules_that_agree_sum_what_they_share() -> None:
    means, total = shared("mean", "mean"), shared("sum", "sum")
    for name in ("i", "a", "b"):
        torch.testing.assert_close(total[f"model.{name}.weight"], 5 * means[f"model.{name}.weight"], rtol=1e-12, atol=0)


def test_rules_that_disagree_on_what_they_share_are_refused() -> None:
    said = "cannot credit i.weight, i.bias, which several sites teach: over the batch 't1' a sum, 't2' a mean. Give the rules .* the same reduction"
    with pytest.raises(CreditError, match=said):
        shared("sum", "mean")


def test_the_output_makes_means() -> None:
    with pytest.raises(CreditError, match="'output' a mean, 't1' a sum, 't2' a sum"):
        shared("sum", "sum", skip=True)


def test_under_a_loss_that_sums_all_are_sums() -> None:
    loss = nn.CrossEntropyLoss(reduction="sum")
    one, other = shared("sum", "mean", skip=True, loss=loss), shared("mean", "mean", skip=True, loss=loss)
    assert all(torch.equal(one[name], value) for name, value in other.items())
