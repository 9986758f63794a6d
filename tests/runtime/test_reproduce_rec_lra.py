"""rec-LRA's studies: every row builds, compiles and takes a step, and the paper's figures stand on the right rows."""

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch.utils.data import TensorDataset

from runtime.learner import Learner
from runtime.optimizers import build_optimizer
from runtime.reproduce.engine import learner_of, recipe_of
from runtime.reproduce.measurements import backpropagation_angles
from runtime.reproduce.problems import Problem
from runtime.reproduce.studies import STUDIES
from runtime.reproduce.study import Case

SAMPLES = 8
ONCE = {
    "rec_lra_mlp": "mnist-*",
    "rec_lra_convergence": "*",
    "rec_lra_angles": "*",
    "rec_lra_pseudo_convolution": "cifar10-*",
    "rec_lra_gap": "gap3",
}
ROWS = [pytest.param(case, id=f"{study}-{case.name}") for study, cases in ONCE.items() for case in STUDIES[study].fitting(cases)]
TWINS = {"rec_lra_mlp": ("mnist-", "fashion-"), "rec_lra_pseudo_convolution": ("cifar10-", "fashion-")}


def narrow(case: Case) -> Case:
    """The case with a narrow network."""
    name, _, options = case.model.partition(":")
    kept = [option for option in options.split(",") if option and not option.startswith("width=")]
    return replace(case, model=f"{name}:{','.join([*kept, 'width=8'])}")


def tiny(case: Case) -> Problem:
    generator = torch.Generator().manual_seed(0)
    shape = (3, 32, 32) if case.data == "cifar10" else (1, 28, 28)
    samples = TensorDataset(torch.rand(SAMPLES, *shape, generator=generator), torch.arange(SAMPLES) % 10)
    return Problem(samples, samples, shape, 10)


def step(case: Case) -> Learner:
    """The learner behind one step; everything that it learns has an update."""
    problem = tiny(case)
    learner = learner_of(case, problem, seed=0)
    learned = {name: value for name, value in learner.named_parameters() if value.requires_grad}
    before = {name: value.detach().clone() for name, value in learned.items()}
    optimizer = build_optimizer(learner, case.optimizer, case.error_optimizer)
    assert math.isfinite(learner.learn(*problem.batch(SAMPLES)).loss.item())
    assert [name for name, value in learned.items() if value.grad is None] == []
    optimizer.step()
    assert all(bool(torch.isfinite(value).all()) for value in learned.values())
    assert any(not torch.equal(value, before[name]) for name, value in learned.items())
    return learner


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("case", ROWS)
def test_every_row_learns_a_step(case: Case) -> None:
    step(narrow(case))


@pytest.mark.parametrize(("study", "prefixes"), TWINS.items())
def test_rows_on_two_data_sets_differ_in_the_data_alone(study: str, prefixes: tuple[str, str]) -> None:
    first, second = (STUDIES[study].fitting(f"{prefix}*") for prefix in prefixes)
    assert [case.name.removeprefix(prefixes[0]) for case in first] == [case.name.removeprefix(prefixes[1]) for case in second]
    for one, other in zip(first, second, strict=True):
        assert recipe_of(narrow(one)) == recipe_of(replace(narrow(other), data=one.data))


def test_the_papers_figures_stand_on_their_rows() -> None:
    errors = {(study, case.name): case.published["test_error"] for study in ONCE for case in STUDIES[study].cases if case.published}
    assert len(errors) == 18 + 4 + 6
    table = {name: errors["rec_lra_mlp", name] for name in ("mnist-bp", "mnist-dfa", "mnist-rec_lra_sign", "fashion-lra_e")}
    assert table == {"mnist-bp": 1.48, "mnist-dfa": 2.75, "mnist-rec_lra_sign": 2.33, "fashion-lra_e": 12.31}
    assert [errors["rec_lra_mlp", f"{data}-rec_lra_tanh"] for data in ("mnist", "fashion")] == [1.82, 11.87]
    assert errors["rec_lra_pseudo_convolution", "cifar10-pseudo_conv-rec_lra"] == 6.42
    assert errors["rec_lra_gap", "gap2"] == 6.12


def test_signum_units_hear_the_output_and_the_others_have_gap_two() -> None:
    tanh, sign = (
        step(narrow(case)).error_synapses() for case in STUDIES["rec_lra_mlp"].fitting("mnist-rec_lra_tanh,mnist-rec_lra_sign")
    )
    assert list(sign) == [f"output->act{n}" for n in range(1, 6)]
    assert list(tanh) == ["act2->act1", "output->act2", "act4->act3", "output->act4", "output->act5"]


def test_the_angles_figures_find_their_updates() -> None:
    (case,) = STUDIES["rec_lra_angles"].fitting("rec_lra")
    found = backpropagation_angles(step(narrow(case)), *tiny(case).batch(SAMPLES))
    assert {"update hidden1.weight", "update block4.linear.weight", "update block8.linear.weight"} < set(found)
