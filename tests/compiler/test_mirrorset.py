"""Mirrors: magnitudes by their distribution, one plasticity each, and plasticities of one's own."""

import re
from typing import Literal

import pytest
import torch
from extending_case import batch, grads, learned, network
from torch import Tensor, nn

from compiler import EdgeError, compile
from compiler.extend import Flow, Mirroring, Plasticity, mirroring
from compiler.initial import bound, draw
from runtime import Learner
from wiring import GlorotUniform, KaimingUniform, LikeForward, Mirror, Normal, Wiring, Zeros, fa, kp, mix, sign_symmetry
from wiring.spec import Init

# ------------------------------------------------------------------------------------------------ magnitudes


@pytest.mark.parametrize("init", [KaimingUniform(), GlorotUniform()])
@pytest.mark.parametrize("shape", [(40, 300), (16, 24, 3, 3), (8, 30, 40)], ids=["linear", "convolution", "bilinear"])
def test_the_bound_is_that_of_what_is_drawn(init: Init, shape: tuple[int, ...]) -> None:
    most = draw(init, shape, torch.Generator().manual_seed(0)).abs().max().item()
    assert 0.99 * bound(init, torch.empty(shape)) < most <= bound(init, torch.empty(shape)) * (1 + 1e-6)


@pytest.mark.parametrize("form", ["usf", "brsf"])
@pytest.mark.parametrize("init", [Normal(std=0.01), Zeros(), LikeForward()])
def test_magnitudes_without_a_bound_are_refused(init: Init, form: Literal["usf", "brsf"]) -> None:
    said = rf"Init '{init.kind}' has no bound.*init=KaimingUniform\(\).*magnitude='fixed'"
    with pytest.raises(EdgeError, match=said):
        compile(network(), sign_symmetry(form).but(synapse__init=init), batch())
    compile(network(), sign_symmetry("frsf").but(synapse__init=init), batch())


# ------------------------------------------------------------------------------------------------ one mirror, one plasticity


class Branches(nn.Module):
    """Two sites in front of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 7), nn.Linear(6, 7), nn.Linear(7, 4)
        self.t1, self.t2 = nn.Tanh(), nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.c(self.t1(self.a(x)) + self.t2(self.b(x)))
        return logits


def branches(first: Wiring, second: Wiring) -> Learner:
    torch.manual_seed(0)
    learner = Learner(compile(Branches().double(), mix({"t1": first, "t2": second}), batch()), backend="serial")
    learner.learn(*batch())
    return learner


@pytest.mark.parametrize("turned", [False, True])
def test_edges_that_share_a_mirror_teach_it_alike(turned: bool) -> None:
    one, other = (kp(), fa()) if turned else (fa(), kp())
    said = f"edge 'output' -> 't1' ({one.rules[0].plasticity.kind}) and of the edge 'output' -> 't2' ({other.rules[0].plasticity.kind}) pass 'c.weight'"
    with pytest.raises(EdgeError, match=re.escape(said)):
        branches(one, other)


def test_the_way_out_is_a_mirror_each() -> None:
    learner = branches(fa(), kp().but(synapse__init__kind="glorot_uniform"))
    names = ("mirror:c.weight", "mirror:c.weight:2")
    assert {name: value.grad is not None for name, value in learner.error_synapses().items()} == dict(
        zip(names, (False, True), strict=True)
    )


def test_a_rule_and_an_edge_that_share_a_mirror_teach_it_alike() -> None:
    """The second layer behind a site is passed by the errors of the site before it and by the local gradient of the one behind."""
    layers = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 5), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 4)).double()
    with pytest.raises(EdgeError, match=r"edge '4' -> '1' \(fixed\) and of the rule for '\*' \(kolen_pollack\) pass '3.weight'"):
        compile(layers, mix({"1": fa(), "*": kp()}), batch())


# ------------------------------------------------------------------------------------------------ a plasticity of one's own


class Slow(Plasticity):
    """``dB = gamma dW + decay B``."""

    teaches = "mirrors"
    kind: Literal["slow"] = "slow"
    gamma: float = 0.5
    decay: float = 0.0


@mirroring(Slow)
def slow(spec: Slow, state: Mirroring) -> Flow:
    return Flow(spec.gamma * state.update.plain() + spec.decay * state.mirror)


class Kolen(Plasticity):
    """``dB = dW``, by the rule of Kolen-Pollack written anew."""

    teaches = "mirrors"
    kind: Literal["kolen"] = "kolen"


@mirroring(Kolen)
def kolen(spec: Kolen, state: Mirroring) -> Flow:
    return state.update


def test_a_mirror_learns_by_a_plasticity_of_ones_own() -> None:
    reference, mine = learned(kp()), learned(fa().but(plasticity=Slow(decay=0.25)))
    for name, synapse in mine.error_synapses().items():
        taught = reference.error_synapses()[name].grad
        assert taught is not None
        torch.testing.assert_close(synapse.grad, 0.5 * taught + 0.25 * synapse.detach(), rtol=0, atol=1e-12)
    again = grads(learned(fa().but(plasticity=Kolen())))
    assert all(torch.equal(again[name], value) for name, value in grads(reference).items())
    assert {edge.plasticity for site in mine.program.report().sites for edge in site.edges} == {"slow"}


def test_it_needs_a_mirror_with_random_weights() -> None:
    with pytest.raises(ValueError, match="'slow' follows forward weights"):
        fa().but(plasticity=Slow(), synapse=Mirror(weights="forward"))
