"""What the report says of weight transport is what an experiment finds: one weight changed behind the forward pass, which updates feel it?"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from drawing import Network, chains, dags
from held import results_with
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from compiler import compile
from runtime import Learner
from wiring import PRESETS, Wiring, bp, dfa, dkp, drtp, ekdaa, fa, rec_lra, sign_symmetry

pytestmark = pytest.mark.filterwarnings("ignore::compiler.WiringWarning")

LOCAL = [dfa(), dkp(), drtp(), rec_lra(depth=1)]
"""Wirings in which a site hears the output alone."""
TRANSPORTING = ["bp", "sign_symmetry"]


@dataclass(frozen=True)
class Felt:
    """The parameters that, changed alone behind the forward pass, change some site's credit, some update, some synapse's update."""

    credits: set[str]
    updates: set[str]
    synapses: set[str]


def felt(learner: Learner, x: Tensor, y: Tensor) -> Felt:
    """Change one parameter after the other."""
    parameters = {name: value.detach() for name, value in learner.model.named_parameters()}
    first = next(iter(parameters))
    before = results_with(learner, x, y, first, parameters[first])
    found: dict[str, set[str]] = {"credits": set(), "gradients": set(), "error_gradients": set()}
    for name, value in parameters.items():
        other = torch.randn(value.shape, generator=torch.Generator().manual_seed(2), dtype=value.dtype)
        after = results_with(learner, x, y, name, other)
        for kind, names in found.items():
            if any(not torch.equal(result, after[kind][key]) for key, result in before[kind].items()):
                names.add(name)
    return Felt(*found.values())


def learner_of(network: Network, wiring: Wiring) -> Learner:
    return Learner(compile(network.model(), wiring, network.data()))


# Shallow wirings refuse some of these: a frozen site whose pre-activation is read past it.
@given(dags(most=4, dropout=True), st.sampled_from([name for name in PRESETS if name != "shallow"]))
def test_the_report_agrees_with_the_experiment(network: Network, preset: str) -> None:
    learner = learner_of(network, PRESETS[preset]())
    report, found = learner.program.report(), felt(learner, *network.data())
    assert set(report.weight_transport) == found.credits
    assert set(report.local_weight_transport) == found.updates - found.credits


@given(st.booleans().flatmap(lambda maps: chains(maps=maps)), st.sampled_from(list(PRESETS)))
def test_one_weight_a_region_is_transported_by_bp_and_sign_symmetry_alone(network: Network, preset: str) -> None:
    """All but the first weight: no error goes further back than the first site."""
    report = learner_of(network, PRESETS[preset]()).program.report()
    weights = {name for name, value in network.model().named_parameters() if value.dim() > 1}
    assert set(report.weight_transport) == (weights - {"v1.weight"} if preset in TRANSPORTING else set())
    assert report.local_weight_transport == ()


@given(st.booleans().flatmap(lambda maps: chains(maps=maps)), st.sampled_from(LOCAL))
def test_direct_feedback_is_local(network: Network, wiring: Wiring) -> None:
    """Where every region holds one weight, no update feels any weight but through the forward pass."""
    assert felt(learner_of(network, wiring), *network.data()) == Felt(set(), set(), set())


@pytest.mark.parametrize("wiring", [bp(), sign_symmetry()], ids=lambda wiring: wiring.name)
def test_the_experiment_finds_what_backpropagation_transports(wiring: Wiring) -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    x, y = torch.randn(4, 4, dtype=torch.float64), torch.randint(3, (4,))
    behind = {"2.weight", "4.weight"}
    assert felt(Learner(compile(model, wiring, (x, y))), x, y) == Felt(behind, behind, set())


NORMS: dict[str, Callable[[], nn.Module]] = {
    "batch": lambda: nn.BatchNorm1d(6),
    "layer": lambda: nn.LayerNorm(6),
    "group": lambda: nn.GroupNorm(2, 6),
}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("wiring", [fa(), ekdaa()], ids=lambda wiring: wiring.name)
def test_a_mirror_through_a_normalisation_reads_its_scale_and_nothing_else(norm: str, wiring: Wiring) -> None:
    """Between sites (``4``) the scale is transported; in front of the first site (``1``) the update alone reads it."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(4, 6), NORMS[norm](), nn.Tanh(), nn.Linear(6, 6), NORMS[norm](), nn.Tanh(), nn.Linear(6, 3)
    ).double()
    x, y = torch.randn(4, 4, dtype=torch.float64), torch.randint(3, (4,))
    learner = Learner(compile(model, wiring, (x, y)))
    report = learner.program.report()
    assert (report.weight_transport, report.local_weight_transport) == (("4.weight",), ("1.weight",))
    found = felt(learner, x, y)
    assert (found.credits, found.updates) == ({"4.weight"}, {"1.weight", "4.weight"})
