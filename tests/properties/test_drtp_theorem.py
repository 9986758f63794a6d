"""DRTP's theorem (Frenkel, Lefebvre, Bol 2021): on linear hidden layers that start at zero, one sample shown again and again aligns
the signals of DRTP and BP at every hidden layer.

By induction over the steps: layer ``k`` learns from ``B_k t`` alone, so its value is a negative multiple of ``B_k t``; the output's
weights then are a negative multiple of it too, row by row by the sign of that row's ``t - softmax(v)`` (or sigmoid), which never
changes; so what BP carries back to layer ``k`` is a positive multiple of ``B_k t``. Its assumptions: the target is one-hot (for a
sigmoid: of zeros and ones), and the optimiser subtracts a non-negative mixture of the updates so far.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from pool import pooled
from programs import learner_of
from torch import Tensor, nn

from runtime import Learner
from runtime.alignment import angle
from runtime.learner import named_results
from wiring import Sites, drtp

ROUNDING = 1e-5
"""Degrees."""
LEARNT = 1e-9
"""A loss below which the error is about to vanish in rounding, and BP's signal with it."""


@dataclass(frozen=True)
class Case:
    """A chain of linear layers from one sample to ``classes``."""

    widths: tuple[int, ...]
    bias: bool
    classes: int
    ending: str
    seed: int

    def model(self) -> nn.Sequential:
        """All zeros; the last module of a ``sigmoid`` is one."""
        pairs = zip((3, *self.widths), (*self.widths, self.classes), strict=True)
        layers: list[nn.Module] = [nn.Linear(*pair, bias=self.bias) for pair in pairs]
        model = nn.Sequential(*layers, *([nn.Sigmoid()] if self.ending == "sigmoid" else [])).double()
        for parameter in model.parameters():
            nn.init.zeros_(parameter)
        return model

    def data(self) -> tuple[Tensor, Tensor]:
        """One sample twice, and its target: a class, or zeros and ones (not all alike) for a sigmoid."""
        source = torch.Generator().manual_seed(self.seed)
        x = torch.randn(1, 3, generator=source, dtype=torch.float64).expand(2, 3).contiguous()
        label = torch.randint(self.classes, (1,), generator=source)
        if self.ending == "softmax":
            return x, label.expand(2).contiguous()
        t = torch.randint(2, (1, self.classes), generator=source).index_fill(1, label, 1)
        return x, t.double().expand(2, self.classes).contiguous()

    def loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        endings = {"softmax": F.cross_entropy, "logits": F.binary_cross_entropy_with_logits, "sigmoid": F.binary_cross_entropy}
        return endings[self.ending]

    def learner(self) -> Learner:
        """Every hidden layer's own output is a site, without an activation."""
        sites = Sites(modules=tuple(str(number) for number in range(len(self.widths))))
        wiring = drtp().model_copy(update={"sites": sites})
        return learner_of(self, wiring, self.loss())


cases = st.builds(
    Case,
    widths=st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple),
    bias=st.booleans(),
    classes=st.integers(2, 5),
    ending=st.sampled_from(["softmax", "logits", "sigmoid"]),
    seed=st.just(0),
)


def credits(learner: Learner, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """What DRTP credits each site with, ``[2, units]``."""
    probed = learner.program.probed()
    return named_results(probed, learner.run(probed, x, y))["credits"]


def signals_of_bp(case: Case, model: nn.Sequential) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss, and its gradient at each hidden layer's output ``[2, units]``, by autograd."""
    x, y = case.data()
    values = [x]
    for layer in model:
        values.append(layer(values[-1]))
    loss, hidden = case.loss()(values[-1], y), values[1 : len(case.widths) + 1]
    return loss.detach(), {str(number): signal for number, signal in enumerate(torch.autograd.grad(loss, hidden))}


@given(pooled(cases, each=20), st.sampled_from([0.0, 0.9]), st.floats(1e-3, 0.1))
def test_signals_of_drtp_and_bp_point_the_same_way(case: Case, momentum: float, rate: float) -> None:
    learner, (x, y) = case.learner(), case.data()
    t = F.one_hot(y, case.classes).double() if case.ending == "softmax" else y
    optimizer = torch.optim.SGD(learner.parameters(), rate, momentum, nesterov=momentum > 0)
    moved: set[str] = set()
    for _ in range(len(case.widths) + 4):
        loss, backpropagated = signals_of_bp(case, learner.model)
        if loss < LEARNT:
            break
        for site, ours in credits(learner, x, y).items():
            theirs = backpropagated[site]
            if theirs.any():
                moved.add(site)
                assert (ours * theirs).sum() > 0
            if site in moved:
                assert angle(ours, theirs) <= ROUNDING
                assert angle(theirs, t @ learner.error_synapses()[f"output->{site}"]) <= ROUNDING
        learner.learn(x, y)
        optimizer.step()
        optimizer.zero_grad()
    else:  # hidden layers grow as long as they learn: a step of the output's weights may learn the sample before BP's signals arrive
        assert len(moved) == len(case.widths)
