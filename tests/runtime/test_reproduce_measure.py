"""What ``fit`` measures besides: kept with the history, and without a trace on the run."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from training_case import DATA, SIZE, flat, fresh, optimizer_of, timeless

from runtime import History, Learner, fit
from runtime.metrics import Measured


def noisy(learner: Learner, epoch: int) -> Mapping[str, float]:
    """Draws, and leaves the learner in another mode; nothing in the first epoch."""
    torch.rand(3)
    learner.eval()
    return {} if epoch == 1 else {"epoch": epoch, "spread": float(next(learner.parameters()).detach().std())}


def run(learner: Learner, folder: Path | None = None, epochs: int = 3, resume: bool = False, measured: bool = True) -> History:
    return fit(
        learner, optimizer_of(learner), DATA.train, epochs=epochs, test=DATA.test, batch_size=SIZE, folder=folder, resume=resume,
        progress=False, measure=noisy if measured else None,
    )  # fmt: skip


def test_measuring_changes_nothing() -> None:
    states, histories = [], []
    for measured in (True, False):
        learner = fresh(rich=True)
        torch.manual_seed(5)
        histories.append(run(learner, measured=measured))
        states.append((flat(learner.state_dict()), flat(torch.get_rng_state())))
    assert states[0] == states[1]
    assert timeless(histories[0]) == timeless(histories[1])
    assert histories[1].measured == ()
    assert [found.epoch for found in histories[0].measured] == [2, 3]
    assert [found.numbers["epoch"] for found in histories[0].measured] == [2.0, 3.0]


def test_what_was_measured_is_resumed_with_the_run(tmp_path: Path) -> None:
    torch.manual_seed(5)
    wanted = run(fresh(rich=True), tmp_path / "straight")
    torch.manual_seed(5)
    run(fresh(rich=True), tmp_path / "stopped", epochs=2)
    found = run(fresh(rich=True), tmp_path / "stopped", resume=True)
    assert found.measured == wanted.measured
    assert isinstance(found.measured[0], Measured)


def test_an_interrupted_measurement_is_made_again(tmp_path: Path) -> None:
    def interrupted(learner: Learner, epoch: int) -> Mapping[str, float]:
        if epoch == 2:
            raise KeyboardInterrupt
        return noisy(learner, epoch)

    torch.manual_seed(5)
    wanted = run(fresh(rich=True), tmp_path / "straight")
    torch.manual_seed(5)
    learner = fresh(rich=True)
    with pytest.raises(KeyboardInterrupt):
        fit(
            learner, optimizer_of(learner), DATA.train, epochs=3, test=DATA.test, batch_size=SIZE, folder=tmp_path / "stopped",
            progress=False, measure=interrupted,
        )  # fmt: skip
    found = run(fresh(rich=True), tmp_path / "stopped", resume=True)
    assert found.measured == wanted.measured
    assert timeless(found) == timeless(wanted)
