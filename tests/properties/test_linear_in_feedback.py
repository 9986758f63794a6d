"""Direct feedback is linear in its synapses: DFA, DKP and DRTP hold ``c_i = (e B_i) * phi'(h_i)``, and nothing else reads ``B_i``."""

from collections.abc import Mapping

import pytest
import torch
from drawing import Network, dags
from hypothesis import given
from hypothesis import strategies as st
from pool import SEEDS, pooled
from programs import learner_of
from torch import Tensor
from updates import NOISE, apart, step, step_of_synapses

from compiler import UpdateProgram
from runtime import Learner
from runtime.alignment import alignment
from wiring import OUTPUT, dkp, parse_wiring

TOLERANCE = 1e-10
DIRECT = pooled(*[st.tuples(st.just(text), dags()) for text in ("dfa", "dkp", "drtp")], each=5)
FACTORS = st.one_of(st.floats(0.125, 8.0), st.floats(-8.0, -0.125))
pytestmark = pytest.mark.filterwarnings("ignore::compiler.WiringWarning")


def credited_by_the_output(program: UpdateProgram) -> set[str]:
    """Parameters in regions that the output's own error runs through."""
    parts = program.plan.errors.parts
    through = parts.hearers
    return {name for region in parts.regions.values() if OUTPUT in through[region.name] for name in region.parameters}


def fill(learner: Learner, values: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, synapse in learner.error_synapses().items():
            synapse.copy_(values[name])


@given(drawn=DIRECT, a=FACTORS, b=FACTORS)
def test_updates_are_linear_in_the_feedback(drawn: tuple[str, Network], a: float, b: float) -> None:
    """Those behind hidden sites alone; what the output's own error adds to others does not depend on the feedback."""
    text, network = drawn
    x, y = network.data()
    learner = learner_of(network, parse_wiring(text))
    one, other = learner.program.start(network.seed), learner.program.start(network.seed + 1)
    updates = []
    for left, right in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (a, b)):
        fill(learner, {name: left * one[name] + right * other[name] for name in one})
        updates.append(step(learner, x, y))
    silent, first, second, both = updates
    want = {name: zero + a * (first[name] - zero) + b * (second[name] - zero) for name, zero in silent.items()}
    assert apart(both, want) <= TOLERANCE
    for name in silent.keys() - credited_by_the_output(learner.program):
        assert not silent[name].any(), name


@given(drawn=DIRECT, factor=st.floats(1e-3, 1e3))
def test_scaled_feedback_keeps_its_angles_to_backpropagation(drawn: tuple[str, Network], factor: float) -> None:
    text, network = drawn
    x, y = network.data()
    learner = learner_of(network, parse_wiring(text))
    sizes = {name: update.norm().item() for name, update in step(learner, x, y).items()}
    before = alignment(learner, x, y)
    fill(learner, {name: factor * synapse for name, synapse in learner.error_synapses().items()})
    after = alignment(learner, x, y)
    assert after.sites == pytest.approx(before.sites, abs=1e-9, nan_ok=True)
    hidden = before.parameters.keys() - credited_by_the_output(learner.program)
    sure = [name for name in hidden if sizes[name] > NOISE * max(sizes.values())]
    assert [after.parameters[name] for name in sure] == pytest.approx(
        [before.parameters[name] for name in sure], abs=1e-6, nan_ok=True
    )


@given(network=pooled(dags(), each=16), seed=SEEDS)
def test_what_dkp_teaches_its_feedback_does_not_depend_on_it(network: Network, seed: int) -> None:
    """``dB_i = e^T z_i``: forward values alone."""
    x, y = network.data()
    learner = learner_of(network, dkp())
    step(learner, x, y)
    before = step_of_synapses(learner)
    fill(learner, learner.program.start(seed))
    step(learner, x, y)
    after = step_of_synapses(learner)
    assert before.keys() == learner.error_synapses().keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
