"""Targets ``y = phi(h - beta d)``: in the range of ``phi``, at ``z`` where nothing arrives, and together without discrepancy where no error is."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from drawing import Network, dags
from hypothesis import given
from hypothesis import strategies as st
from pool import pooled
from programs import learner_of
from torch import Tensor, fx, nn

from compiler import compile
from compiler.credit import Arrival, Credited, target
from compiler.flow import Flow
from compiler.formats import MemoryLayout
from compiler.sites import Site
from runtime import Learner
from runtime.learner import named_results
from wiring import Dense, Direct, Elastic, Rule, Target, Wiring, parse_wiring

ROUNDING = 4 * torch.finfo(torch.float64).eps
Function = Callable[[Tensor], Tensor]
RANGES: dict[Function, tuple[float, float]] = {
    torch.tanh: (-1.0, 1.0),
    torch.sigmoid: (0.0, 1.0),
    torch.relu: (0.0, math.inf),
    torch.sign: (-1.0, 1.0),
    torch.sin: (-1.0, 1.0),
    F.relu6: (0.0, 6.0),
    F.hardtanh: (-1.0, 1.0),
    F.softplus: (0.0, math.inf),
    F.elu: (-1.0, math.inf),
    F.gelu: (-0.16998, math.inf),
    F.silu: (-0.27847, math.inf),
}  # fmt: skip

# ------------------------------------------------------------------------------------------------ at one site

numbers = st.one_of(st.just(0.0), st.floats(-3, 3), st.floats(-1e6, 1e6))
pairs = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20)
"""``h`` and ``d`` of each unit."""


def credited(spec: Target, phi: Function, units: list[tuple[float, float]]) -> tuple[Tensor, Tensor, Credited]:
    """``d``, ``z`` and what a site of one sample does with them."""
    h, d = torch.tensor(units, dtype=torch.float64).unbind(1)
    node = fx.Graph().placeholder("h")
    site = Site("site", "site", node, node, (), phi.__name__)
    z = phi(h)
    return d, z, target(spec, Arrival(site, Flow(d), h, z, phi, skip=False))


@given(st.sampled_from(list(RANGES)), pairs, st.floats(1e-3, 10), st.floats(0.1, 10))
def test_targets_lie_in_the_range_of_phi(phi: Function, units: list[tuple[float, float]], beta: float, kappa: float) -> None:
    """To rounding, which ``z - (z - y)`` brings."""
    _, z, done = credited(Target(beta=beta, kappa=kappa), phi, units)
    y = z - done.credit.plain() / kappa
    least, most = RANGES[phi]
    slack = ROUNDING * (1 + z.abs())
    assert (y >= least - slack).all()
    assert (y <= most + slack).all()


@given(st.sampled_from(list(RANGES)), pairs, st.floats(1e-3, 10), st.sampled_from([None, Elastic()]))
def test_nothing_arrives_nothing_is_credited(
    phi: Function, units: list[tuple[float, float]], beta: float, elastic: Elastic | None
) -> None:
    d, _, done = credited(Target(beta=beta, elastic=elastic), phi, units)
    assert (done.error.value[d == 0] == 0).all()
    assert (done.credit.value[d == 0] == 0).all()


def test_relus_that_stay_off_are_where_they_should_be() -> None:
    """Without discrepancy, though something arrives; a displacement that turns the unit on leaves one."""
    _, _, done = credited(Target(beta=0.5), torch.relu, [(-1.0, 1.0), (-1.0, -4.0)])
    assert done.error.value.tolist() == [0.0, -1.0]


# ------------------------------------------------------------------------------------------------ over a whole step

PRESETS = ["lra_e", "rec_lra", "rec_lra:gap=2", "rec_lra:elastic=True", "rec_lra:derivative=True", "ekdaa"]
LAYOUT: st.SearchStrategy[MemoryLayout] = st.sampled_from(["preserve", "channels_last"])
SUMMED = nn.CrossEntropyLoss(reduction="sum")
IGNORED = -100


def step(learner: Learner, x: Tensor, y: Tensor) -> tuple[float, dict[str, Tensor], dict[str, Tensor]]:
    """Total discrepancy, every update and the credit of each site, ``[N, ...]``."""
    probed = learner.program.probed()
    results = learner.run(probed, x, y)
    named = named_results(probed, results)
    return results[2].item(), {**named["gradients"], **named["error_gradients"]}, named["credits"]


@given(pooled(*[st.tuples(st.just(text), dags(most=5, batch_norm=False), LAYOUT) for text in PRESETS], each=3))
def test_discrepancy_is_zero_exactly_where_the_output_error_is(drawn: tuple[str, Network, MemoryLayout]) -> None:
    """For all samples and for some: an ignored label is an error of zero, and no batch norm carries errors between samples.

    Of the sites taken one by one all move, but where ReLUs that are off for a sample stay off: these move by nothing.
    """
    text, network, layout = drawn
    x, y = network.data()
    learner = learner_of(network, parse_wiring(text), SUMMED, layout)
    total, _, _ = step(learner, x, y)
    assert total > 0
    partly, _, credits = step(learner, x, torch.cat([torch.full_like(y[:2], IGNORED), y[2:]]))
    assert 0 < partly < total
    assert all((credit[:2] == 0).all() for credit in credits.values())
    assert "relu" in {line.op for line in network.lines} or all(credit[2:].any() for credit in credits.values())
    none, updates, credits = step(learner, x, torch.full_like(y, IGNORED))
    assert none == 0
    assert not any(value.any() for value in (*updates.values(), *credits.values()))


def regression(credit_of: Rule) -> tuple[Learner, Tensor, Tensor]:
    """A tanh network with three outputs under the squared error, inputs, and labels that it meets exactly."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    x, y = torch.randn(4, 4, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    learner = Learner(compile(model, Wiring(name="drawn", rules=(credit_of,)), (x, y), F.mse_loss))
    return learner, x, learner.learn(x, y).output


@pytest.mark.parametrize("signal", ["error", "sign"])
def test_a_network_that_meets_its_labels_has_no_discrepancy(signal: str) -> None:
    rule = Rule(topology=Direct(), signal=signal, synapse=Dense(), credit=Target())
    learner, x, met = regression(rule)
    assert learner.learn(x, met).discrepancy == 0
    assert learner.learn(x, met + 1e-9).discrepancy > 0


def test_labels_as_the_signal_leave_a_discrepancy_without_an_error() -> None:
    """What is sent there is no error, so sites go on moving; no preset joins that signal with targets."""
    learner, x, met = regression(Rule(topology=Direct(), signal="target", synapse=Dense(), credit=Target()))
    assert learner.learn(x, met).discrepancy > 0.001


def test_an_error_too_small_to_square_leaves_no_discrepancy() -> None:
    """Squares of what is below 1e-162 are 0 in float64 (below 1e-23 in float32), while the error still teaches."""
    learner, x, _ = regression(Rule(topology=Direct(), synapse=Dense(), credit=Target()))
    head = learner.get_submodule("model.2")
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    learner.zero_grad()
    learned = learner.learn(x, torch.full((4, 3), 1e-170, dtype=torch.float64))
    assert learned.discrepancy == 0
    assert head.weight.grad.any()
