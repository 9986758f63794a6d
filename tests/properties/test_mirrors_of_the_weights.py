"""Mirrors that hold the forward weights carry backpropagation's errors: feedback alignment, Kolen-Pollack and sign symmetry."""

from collections.abc import Callable

import torch
from drawing import Network, dags
from hypothesis import given
from hypothesis import strategies as st
from pool import pooled
from programs import learner_of
from torch import Tensor
from updates import apart, autograd, step

from runtime import Learner
from wiring import fa, kp, sign_symmetry

TOLERANCE = 1e-12


def fill_mirrors(learner: Learner, value: Callable[[Tensor], Tensor]) -> None:
    """Every mirror from the weight that it stands for."""
    with torch.no_grad():
        for name, mirror in learner.error_synapses().items():
            mirror.copy_(value(learner.model.get_parameter(name.removeprefix("mirror:"))))


MIRRORED = {"fa": (fa(), torch.clone), "kp": (kp(), torch.clone), "sign_symmetry": (sign_symmetry("frsf"), torch.abs)}


@given(pooled(*[st.tuples(st.just(name), dags(dropout=True)) for name in MIRRORED], each=7))
def test_mirrors_of_the_weights_are_backpropagation(drawn: tuple[str, Network]) -> None:
    name, network = drawn
    x, y = network.data()
    wiring, value = MIRRORED[name]
    learner = learner_of(network, wiring)
    fill_mirrors(learner, value)
    assert apart(step(learner, x, y), autograd(network.model(), x, y)) <= TOLERANCE
