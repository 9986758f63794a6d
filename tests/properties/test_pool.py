"""What the pools promise: the same things in every run, each kind among them, and programs on which no example leaves a trace."""

import dataclasses

import pytest
import torch
from drawing import Line, Network, dags
from hypothesis import given, settings
from hypothesis import strategies as st
from pool import pooled, with_seed
from programs import learner_of
from torch import Tensor
from updates import step, step_of_synapses

from compiler import compile
from runtime import Learner
from wiring import parse_wiring

NETWORK = Network(
    shape=(5,),
    lines=(Line("linear", (0,), 4), Line("batch_norm", (1,)), Line("tanh", (2,)), Line("dropout", (3,)), Line("linear", (4,), 3), Line("relu", (5,))),
    classes=3, batch=5, seed=0,
)  # fmt: skip


def test_pools_are_the_same_every_time_and_hold_every_kind() -> None:
    one, other = drawn(), drawn()
    structures = {with_seed(thing, 0) for thing in one}
    assert structures == {with_seed(thing, 0) for thing in other}
    assert sorted(name for name, _ in structures) == ["one"] * 3 + ["other"] * 3
    assert len({network.seed for _, network in one}) > 20


def drawn() -> list[tuple[str, Network]]:
    """Examples of a pool with two kinds."""
    found = []

    @settings(max_examples=40, derandomize=True, database=None)
    @given(pooled(*[st.tuples(st.just(name), dags()) for name in ("one", "other")], each=3))
    def collect(thing: tuple[str, Network]) -> None:
        found.append(thing)

    collect()
    return found


@pytest.mark.parametrize("wiring", ["kp", "weight_mirror", "rec_lra"])
def test_a_program_used_before_computes_what_a_fresh_one_does(wiring: str) -> None:
    """Behind steps of an optimiser with another seed, which moved weights, synapses and batch statistics, and left in evaluation mode."""
    spec, other = parse_wiring(wiring), dataclasses.replace(NETWORK, seed=1)
    used = learner_of(other, spec)
    optimizer = torch.optim.SGD(used.parameters(), lr=0.1)
    for _ in range(2):
        step(used, *other.data())
        optimizer.step()
    used.eval()
    again, fresh = learner_of(NETWORK, spec), Learner(compile(NETWORK.model(), spec, NETWORK.data()), seed=NETWORK.seed)
    assert again.program is used.program
    got, want = left_by(again), left_by(fresh)
    assert got.keys() == want.keys()
    assert all(torch.equal(got[name], value) for name, value in want.items())


def left_by(learner: Learner) -> dict[str, Tensor]:
    """Updates and batch statistics of a step."""
    return step(learner, *NETWORK.data()) | step_of_synapses(learner) | dict(learner.named_buffers())
