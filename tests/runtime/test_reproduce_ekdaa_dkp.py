"""EKDAA's and DKP's studies: rows build and take a step, figures stand on the right rows, and what they measure is what it says."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runtime.data import Split
from runtime.errors import TrainingError
from runtime.learner import Learner
from runtime.optimizers import Joined, build_optimizer, build_schedule
from runtime.reproduce import engine
from runtime.reproduce.activity import activity
from runtime.reproduce.engine import Order, Run, learner_of
from runtime.reproduce.figures import draw
from runtime.reproduce.measurements import measure_named, output_angles
from runtime.reproduce.problems import Problem
from runtime.reproduce.results import load
from runtime.reproduce.studies import STUDIES
from runtime.reproduce.study import Case

SAMPLES = 4
SHAPES = {"fashion-mnist": (1, 8, 8), "cifar10": (3, 32, 32), "svhn": (3, 32, 32)}
ONCE = {
    "ekdaa_fashion": "*",
    "ekdaa_cifar10": "bp,ekdaa,ekdaa_signum",
    "dkp_fashion": "*",
    "dkp_cifar10": "bp,dkp",
    "ekdaa_svhn": "ekdaa",
}
ROWS = [pytest.param(case, id=f"{study}-{case.name}") for study, cases in ONCE.items() for case in STUDIES[study].fitting(cases)]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tiny(case: Case, samples: int = SAMPLES) -> Problem:
    generator = torch.Generator().manual_seed(0)
    shape = SHAPES[case.data]
    split = Split(torch.rand(samples, *shape, generator=generator), torch.arange(samples) % 10)
    return Problem(split, split, shape, 10)


@pytest.mark.parametrize("case", ROWS)
def test_every_row_learns_a_step(case: Case) -> None:
    problem = tiny(case)
    learner = learner_of(case, problem, seed=0)
    before = {name: value.detach().clone() for name, value in learner.named_parameters()}
    optimizer = build_optimizer(learner, case.optimizer, case.error_optimizer)
    build_schedule(optimizer, case.schedule, case.error_schedule)
    assert math.isfinite(learner.learn(*problem.batch(SAMPLES)).loss.item())
    optimizer.step()
    moved = {name for name, value in learner.named_parameters() if not torch.equal(value, before[name])}
    assert "model.output.weight" in moved
    assert ("model.conv1.weight" in moved) is (case.name != "bp_dense")
    assert any(name.startswith("synapses.") for name in moved) is (case.name.startswith("ekdaa") or case.name in ("kp", "dkp"))
    assert all(bool(torch.isfinite(value).all()) for value in learner.parameters())


def test_the_papers_figures_stand_on_their_rows() -> None:
    accuracies = {
        study: {case.name: round(100 - case.published["test_error"], 2) for case in STUDIES[study].cases if case.published}
        for study in ONCE
    }
    assert accuracies["ekdaa_fashion"] == {
        "bp": 89.97, "fa": 89.10, "dfa": 88.90, "sparse_dfa": 89.00, "drtp": 87.99, "ekdaa": 90.01, "ekdaa_signum": 88.69,
    }  # fmt: skip
    assert accuracies["dkp_fashion"] == {"bp": 92.18, "fa": 91.12, "dfa": 91.54, "drtp": 89.58, "kp": 91.25, "dkp": 91.66}
    assert accuracies["ekdaa_cifar10"] == {
        "bp": 71.08, "fa": 58.80, "dfa": 60.50, "drtp": 58.20, "ekdaa": 63.38, "ekdaa_signum": 59.71,
    }  # fmt: skip
    assert accuracies["dkp_cifar10"] == {"bp": 70.70, "fa": 60.45, "dfa": 62.70, "drtp": 55.32, "kp": 70.08, "dkp": 64.69}


def test_dkps_matrices_have_an_optimiser_of_their_own_and_kps_do_not() -> None:
    rates = {}
    for case in STUDIES["dkp_fashion"].fitting("kp,dkp"):
        optimizer = build_optimizer(learner_of(case, tiny(case), seed=0), case.optimizer, case.error_optimizer)
        schedule = build_schedule(optimizer, case.schedule, case.error_schedule)
        optimizer.step()
        if schedule is not None:
            schedule.step()
        rates[case.name] = [group["lr"] for group in optimizer.param_groups]
        assert isinstance(optimizer, Joined) is (case.name == "dkp")
        assert {group["weight_decay"] for group in optimizer.param_groups} == {1e-6}
    assert rates == {"kp": [1e-2], "dkp": pytest.approx([1e-2, 0.85e-4])}


def aligned() -> tuple[Learner, Problem]:
    """A learner of the alignment study whose last matrix is the output layer itself, without its biases."""
    (case,) = STUDIES["dkp_alignment"].fitting("dkp")
    problem = tiny(case, samples=20)
    learner = learner_of(case, problem, seed=0)
    with torch.no_grad():
        learner.error_synapses()["output->act3"].copy_(learner.model.output.weight)
        learner.model.output.bias.zero_()
    return learner, problem


def test_a_matrix_that_is_the_output_layer_is_aligned_with_it() -> None:
    learner, problem = aligned()
    angles = output_angles(learner, problem.test.x, problem.test.y)
    assert list(angles) == ["act1", "act2", "act3"]
    assert angles["act3"] == pytest.approx(0, abs=1e-4)
    assert all(45 < angles[site] < 135 for site in ("act1", "act2"))
    with torch.no_grad():
        learner.error_synapses()["output->act3"].neg_()
    assert output_angles(learner, problem.test.x, problem.test.y)["act3"] == pytest.approx(180, abs=1e-4)


def test_reading_activity_changes_nothing() -> None:
    learner, problem = aligned()
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    values, v = activity(learner, problem.test.x, ("act3",))
    torch.testing.assert_close(torch.nn.functional.linear(values["act3"], learner.model.output.weight), v)
    assert learner.training
    assert all(torch.equal(value, before[name]) for name, value in learner.state_dict().items())
    assert not any(module._forward_hooks for module in learner.model.modules())
    with pytest.raises(TrainingError, match="'relu_7' is no module's output"):
        activity(learner, problem.test.x, ("relu_7",))


def test_a_measurement_that_is_not_known_is_refused() -> None:
    (case,) = STUDIES["dkp_alignment"].fitting("dkp")
    with pytest.raises(TrainingError, match="is called 'angels'"):
        measure_named("angels", tiny(case), 1)


def test_an_embedding_is_kept_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, samples = STUDIES["ekdaa_tsne"], 60
    monkeypatch.setattr(engine, "problem_named", lambda name, folder: tiny(study.cases[0], samples))
    order = Order(tmp_path / "results", tmp_path / "runs", "errorwire reproduce ekdaa_tsne", epochs=1)
    results = {case.name: [Run(study, replace(case, optimizer="sgd:lr=0.1"), 0, order).work()] for case in study.cases}
    columns = {name: load(tmp_path / "results" / f"{name}-seed0.json").embedding for name in results}
    for found in columns.values():
        assert list(found) == ["label", "x untrained", "y untrained", "x trained", "y trained"]
        assert {len(column) for column in found.values()} == {samples}
    assert columns["bp"]["x untrained"] == columns["ekdaa"]["x untrained"]
    assert columns["bp"]["x trained"] != columns["bp"]["x untrained"]
    figure = draw(study, study.figures[0], results)
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes] == ["untrained", "bp", "ekdaa"]
    assert draw(study, study.figures[0], {}) is None
