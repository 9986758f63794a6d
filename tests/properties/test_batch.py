"""An update is a mean over samples: neither their order nor how often the whole batch is repeated matters, under any wiring."""

import pytest
from drawing import Line, Network, dags
from hypothesis import given
from hypothesis import strategies as st
from pool import pooled
from programs import learner_of
from torch import Tensor
from updates import apart, step, step_of_synapses

from compiler.taskgraph import RANDOM
from runtime import Learner
from wiring import PRESETS, shallow

TOLERANCE = 1e-10
TIMES = st.integers(1, 2)


def updates(learner: Learner, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Of every weight, and of the error synapses where no random numbers teach them."""
    noisy = any(RANDOM in task.writes for task in learner.program.lowered.tasks.tasks)
    return step(learner, x, y) | ({} if noisy else step_of_synapses(learner))


@pytest.mark.filterwarnings("ignore::compiler.WiringWarning")
@given(drawn=pooled(*[st.tuples(st.just(preset), dags(batch_norm=False), TIMES) for preset in PRESETS], each=2), data=st.data())
def test_neither_order_nor_repetition_of_the_batch_matters(drawn: tuple[str, Network, int], data: st.DataObject) -> None:
    preset, network, times = drawn
    x, y = network.data()
    rows = data.draw(st.permutations(times * list(range(network.batch))), label="rows")
    learner = learner_of(network, PRESETS[preset]())
    assert apart(updates(learner, x[rows], y[rows]), updates(learner, x, y)) <= TOLERANCE


def test_a_frozen_region_stays_frozen_where_its_head_is_read_past_the_activation() -> None:
    """``v1`` is the pre-activation of the frozen site ``v2``, and the output's region reads it too."""
    network = Network((3,), (Line("linear", (0,), 3), Line("tanh", (1,)), Line("linear", (1,), 3)), classes=3, batch=3, seed=0)
    learner = learner_of(network, shallow())
    assert set(updates(learner, *network.data())) == {"v3.weight", "v3.bias", "head.weight", "head.bias"}
