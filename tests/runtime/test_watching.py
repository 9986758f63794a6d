"""What a run measures besides when it is watched: the right numbers, from before the first step on, and without a trace on the run."""

from pathlib import Path
from typing import Any

import pytest
import torch
from training_case import DATA, SIZE, flat, fresh, optimizer_of, timeless

from compiler import CompileError
from runtime import alignment, fit
from runtime.watching import ANGLE, SYNAPSE, WEIGHT, watch
from wiring import bp, dfa

X, Y = DATA.test.x[:SIZE], DATA.test.y[:SIZE]


def test_angles_and_norms_are_those_of_the_learner() -> None:
    learner = fresh(dfa())
    found = watch(X, Y)(learner, 1)
    expected = alignment(learner, X, Y).sites
    assert {name: found[ANGLE + name] for name in expected} == expected
    for name, parameter in learner.model.named_parameters():
        assert (WEIGHT + name in found) == (parameter.dim() > 1)
        if parameter.dim() > 1:
            assert found[WEIGHT + name] == pytest.approx(parameter.square().sum().sqrt().item())
    assert {name.removeprefix(SYNAPSE) for name in found if name.startswith(SYNAPSE)} == set(learner.error_synapses())


def test_backpropagation_is_at_no_angle() -> None:
    found = watch(X, Y)(fresh(bp()), 1)
    assert [angle for name, angle in found.items() if name.startswith(ANGLE)] == pytest.approx([0.0], abs=1e-3)


def test_norms_are_measured_where_backpropagation_cannot_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise CompileError("Backpropagation cannot train this model.")

    monkeypatch.setattr("runtime.watching.alignment", refuse)
    found = watch(X, Y)(fresh(dfa()), 1)
    assert found
    assert not [name for name in found if name.startswith(ANGLE)]


def test_a_run_is_the_same_to_the_bit_with_watching_and_without(tmp_path: Path) -> None:
    """With batch norm and dropout, so that buffers and random numbers could tell."""

    def end(watched: bool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        learner = fresh(dfa(), rich=True)
        torch.manual_seed(5)
        measure = watch(X, Y) if watched else None
        history = fit(learner, optimizer_of(learner), DATA.train, epochs=2, test=DATA.test, batch_size=SIZE, measure=measure,
                      measure_start=watched, folder=tmp_path / str(watched), progress=False)  # fmt: skip
        return flat(learner.state_dict()), timeless(history)

    assert end(True) == end(False)


def test_a_run_is_measured_from_before_its_first_step_and_goes_on_after_a_resumption(tmp_path: Path) -> None:
    measure, shared = watch(X, Y), {"test": DATA.test, "batch_size": SIZE, "folder": tmp_path / "run", "progress": False}
    learner = fresh(dfa())
    fit(learner, optimizer_of(learner), DATA.train, epochs=1, measure=measure, measure_start=True, **shared)
    learner = fresh(dfa())
    history = fit(learner, optimizer_of(learner), DATA.train, epochs=3, measure=measure, measure_start=True, resume=True, **shared)
    assert [found.epoch for found in history.measured] == [0, 1, 2, 3]
    assert all(found.numbers.keys() == history.measured[0].numbers.keys() for found in history.measured)
