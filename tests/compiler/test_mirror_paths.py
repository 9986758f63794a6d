"""Errors go over mirrors as drawn, through junctions and beside frozen sites, and what would wait for ever is refused."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from compiler import CreditError, compile
from runtime import Learner
from wiring import Dense, Edge, Explicit, Mirror, Rule, Skip, Wiring, bp, fa, kp, lra_e, mix, shallow, weight_mirror

FORWARD = Mirror(weights="forward")
X = torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
Y = torch.arange(7) % 4


def learned(model: nn.Module, wiring: Wiring) -> Learner:
    learner = Learner(compile(model.double(), wiring, example=(X, Y)), backend="serial")
    learner.learn(X, Y)
    return learner


# ------------------------------------------------------------------------------------------------ through a junction


class Joined(nn.Module):
    """Two sites joined to one value, which a third site and the output read. ``held``: which of the two the third sends nothing to."""

    def __init__(self, held: str = "") -> None:
        super().__init__()
        self.l1, self.l2, self.l3, self.lo = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(12, 6), nn.Linear(18, 4)
        self.held = held

    def forward(self, x: Tensor) -> Tensor:
        a = torch.tanh(self.l1(x))
        b = torch.tanh(self.l2(a))
        joined = torch.cat([a, b], 1)
        read = torch.cat([a, b.detach()], 1) if self.held == "b" else torch.cat([a.detach(), b], 1) if self.held == "a" else joined
        logits: Tensor = self.lo(torch.cat([joined, torch.tanh(self.l3(read))], 1))
        return logits


def edges(*dropped: tuple[str, str], **own: Any) -> Wiring:
    """All adjacent edges of ``Joined`` over forward weights but some; ``own``: what the edge from the third site to the second has."""
    ends = {"tanh": ("tanh:2", "tanh:3", "output"), "tanh:2": ("tanh:3", "output"), "tanh:3": ("output",)}
    drawn = [
        Edge(source=s, target=t, **(own if (s, t) == ("tanh:3", "tanh:2") else {}))
        for t, senders in ends.items()
        for s in senders
        if (s, t) not in dropped
    ]
    return Wiring(name="drawn", rules=(Rule(topology=Explicit(edges=tuple(drawn)), synapse=FORWARD),))


@pytest.mark.parametrize(
    ("wiring", "held"),
    [
        (edges(), ""),
        (Wiring(name="skip", rules=(Rule(topology=Skip(gap=2), synapse=FORWARD),)), "b"),
        (edges(("tanh:3", "tanh:2")), "b"),
        (edges(("tanh:3", "tanh")), "a"),
    ],
    ids=["all", "skip", "second", "first"],
)
def test_a_site_behind_a_junction_hears_whom_it_is_drawn_to(wiring: Wiring, held: str) -> None:
    torch.manual_seed(0)
    model, oracle = Joined(), Joined(held).double()
    oracle.load_state_dict(model.state_dict())
    learned(model, wiring)
    cross_entropy(oracle(X), Y).backward()
    for (name, mine), other in zip(model.named_parameters(), oracle.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=0, atol=1e-12, msg=name)


def test_each_edge_goes_through_a_junction_over_its_own_weights() -> None:
    """Over its own mirror an edge adds to the others what it adds where nobody else sends."""
    shares = {}
    for name, wiring in {
        "both": edges(synapse=Mirror()),
        "own": edges(("output", "tanh:2"), synapse=Mirror()),
        "output": edges(("tanh:3", "tanh:2")),
    }.items():
        torch.manual_seed(0)
        model = Joined()
        learner = learned(model, wiring)
        for synapse in learner.error_synapses().values():
            assert synapse.shape == model.l3.weight.shape
        assert model.l2.weight.grad is not None
        shares[name] = model.l2.weight.grad
    torch.testing.assert_close(shares["both"], shares["own"] + shares["output"], rtol=0, atol=1e-12)


# ------------------------------------------------------------------------------------------------ beside frozen sites


class Beside(nn.Module):
    """A value that two sites read; the second has the same layer as the first, or one of its own."""

    def __init__(self, shared: bool) -> None:
        super().__init__()
        self.w, self.e, self.o = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(10, 4)
        self.second = self.w if shared else nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.tanh(self.w(x))
        logits: Tensor = self.o(torch.cat([torch.sigmoid(self.e(z)), torch.tanh(self.second(z))], 1))
        return logits


@pytest.mark.parametrize("shared", [True, False])
def test_a_frozen_sender_is_not_waited_for(shared: bool) -> None:
    learner = learned(Beside(shared), mix({"sigmoid": shallow(), "*": lra_e().but(reprojection=None)}))
    synapses = learner.error_synapses()
    assert set(synapses) == {"tanh:2->tanh", "output->tanh:2"}
    assert all(synapse.grad is not None for synapse in synapses.values())
    assert [e.source for e in learner.program.plan.errors.edges["tanh"]] == ["tanh:2"]
    taught = {name for name, value in learner.model.named_parameters() if value.grad is not None}
    assert taught == {name for name, _ in learner.model.named_parameters() if not name.startswith("e.")}


def test_who_hears_only_frozen_sites_is_told_so() -> None:
    layers = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 4)).double()
    said = r"no update to 0.weight, 0.bias: site '1' in front of them hears nobody, for frozen sites send no errors"
    with pytest.raises(CreditError, match=said):
        compile(layers, mix({"3": shallow(), "*": kp()}), example=(X, Y))


@pytest.mark.parametrize("synapse", [Dense(), FORWARD])
def test_a_site_that_waits_for_ever_is_named(synapse: Dense | Mirror) -> None:
    layers = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.ReLU(), nn.Linear(6, 4)).double()
    rule = Rule(topology=Explicit(edges=(Edge(source="2", target="1"),)), synapse=synapse)
    with pytest.raises(CreditError, match=r"never credits site '1': no error arrives from '2'. Let each of these hear"):
        compile(layers, Wiring(name="open", rules=(rule,)), example=(X, Y))


# ------------------------------------------------------------------------------------------------ which weights an error passes


class Summed(nn.Module):
    """Two sites, each behind a layer of its own, in front of one sum."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d, self.o = (nn.Linear(*ends) for ends in ((5, 6), (5, 6), (6, 6), (6, 6), (6, 4)))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.o(torch.relu(self.c(torch.tanh(self.a(x))) + self.d(torch.sigmoid(self.b(x)))))
        return logits


@pytest.mark.parametrize(
    ("wiring", "mirrors"),
    [
        (mix({"tanh": fa(), "*": kp()}), {"c": False, "d": True, "o": True}),
        (mix({"tanh": kp(), "sigmoid": weight_mirror(), "*": bp()}), {"c": True, "d": True}),
        (mix({"tanh": kp(), "*": bp()}), {"c": True}),
    ],
    ids=["fa", "weight mirror", "bp"],
)
def test_only_weights_between_a_site_and_its_sender_have_its_mirrors(wiring: Wiring, mirrors: dict[str, bool]) -> None:
    synapses = learned(Summed(), wiring).error_synapses()
    assert {name: value.grad is not None for name, value in synapses.items()} == {
        f"mirror:{layer}.weight": learns for layer, learns in mirrors.items()
    }


class ReadInFront(nn.Module):
    """A site whose value in front of its activation another site reads. ``beside``: whether a third hears nothing through it."""

    def __init__(self, beside: bool) -> None:
        super().__init__()
        self.first, self.still, self.behind, self.out = (nn.Linear(5, 5) for _ in range(4))
        self.third = nn.Linear(5, 5) if beside else None

    def forward(self, x: Tensor, cut: bool = False) -> Tensor:
        z = torch.tanh(self.first(x))
        h = self.still(z)
        total = torch.relu(self.behind(h)) + torch.sigmoid(h.detach() if cut else h)
        logits: Tensor = self.out(total if self.third is None else total + torch.tanh(self.third(z)))
        return logits


@pytest.mark.parametrize("beside", [False, True])
def test_errors_pass_a_frozen_site_that_is_read_in_front_of_its_activation(beside: bool) -> None:
    model, twin = ReadInFront(beside), ReadInFront(beside).double()
    twin.load_state_dict(model.state_dict())
    learned(model, mix({"sigmoid": shallow(), "*": bp()}))
    cross_entropy(twin(X, cut=True), Y).backward()
    assert model.still.weight.grad is None
    for got, wanted in zip(model.first.parameters(), twin.first.parameters(), strict=True):
        assert torch.equal(got.grad, wanted.grad)
