"""What the report says of weight transport is what an experiment finds: one weight changed behind the forward pass, which updates feel it?"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from drawing import Network, chains, dags
from held import results_with
from hypothesis import given
from hypothesis import strategies as st
from pool import pooled
from programs import learner_of
from torch import Tensor, nn

from compiler import compile
from runtime import Learner
from wiring import PRESETS, Wiring, bp, ekdaa, fa, parse_wiring, sign_symmetry

pytestmark = pytest.mark.filterwarnings("ignore::compiler.WiringWarning")

LOCAL = ["dfa", "dkp", "drtp", "rec_lra:depth=1"]
"""Wirings in which a site hears the output alone."""
TRANSPORTING = ["bp", "sign_symmetry"]
CHAINS = st.one_of(chains(), chains(maps=True))


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


# Shallow wirings refuse some of these: a frozen site whose pre-activation is read past it.
@given(pooled(*[st.tuples(st.just(name), dags(most=4, dropout=True)) for name in PRESETS if name != "shallow"], each=2))
def test_the_report_agrees_with_the_experiment(drawn: tuple[str, Network]) -> None:
    preset, network = drawn
    learner = learner_of(network, PRESETS[preset]())
    report, found = learner.program.report(), felt(learner, *network.data())
    assert set(report.weight_transport) == found.credits
    assert set(report.local_weight_transport) == found.updates - found.credits


@given(pooled(*[st.tuples(st.just(name), CHAINS) for name in PRESETS], each=2))
def test_one_weight_a_region_is_transported_by_bp_and_sign_symmetry_alone(drawn: tuple[str, Network]) -> None:
    """All but the first weight: no error goes further back than the first site."""
    preset, network = drawn
    learner = learner_of(network, PRESETS[preset]())
    report, found = learner.program.report(), felt(learner, *network.data())
    weights = {name for name, value in learner.model.named_parameters() if value.dim() > 1}
    transported = weights - {"v1.weight"} if preset in TRANSPORTING else set()
    assert set(report.weight_transport) == found.credits == transported
    assert set(report.local_weight_transport) == found.updates - found.credits == set()


@given(pooled(*[st.tuples(st.just(text), CHAINS) for text in LOCAL], each=4))
def test_direct_feedback_is_local(drawn: tuple[str, Network]) -> None:
    """Where every region holds one weight, no update feels any weight but through the forward pass."""
    text, network = drawn
    assert felt(learner_of(network, parse_wiring(text)), *network.data()) == Felt(set(), set(), set())


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
