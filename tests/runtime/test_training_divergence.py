"""Runs that diverge: they stop before the update, and their last good state is kept."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import Adam
from torch.utils.data import DataLoader, TensorDataset
from training_case import BATCHES, DATA, SIZE, flat, fresh, optimizer_of

from runtime import NonFiniteLoss, fit
from runtime.checkpoint import load_tree


def poisoned(at: int) -> DataLoader[Any]:
    x = DATA.train.x.clone()
    x[at * SIZE] = float("nan")
    return DataLoader(TensorDataset(x, DATA.train.y), batch_size=SIZE)


def test_a_non_finite_loss_stops_before_the_update_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    good = fresh(seed=1)
    good.load_state_dict(fresh().state_dict())
    optimizer = Adam(good.parameters())
    for place in range(3):
        part = slice(place * SIZE, (place + 1) * SIZE)
        good.learn(DATA.train.x[part], DATA.train.y[part])
        optimizer.step()
        optimizer.zero_grad()
    learner = fresh()
    with pytest.raises(NonFiniteLoss) as caught:
        fit(learner, Adam(learner.parameters()), poisoned(3), epochs=1, folder=tmp_path, progress=False)
    path = tmp_path / "checkpoint.safetensors"
    assert str(caught.value).startswith(
        "Epoch 1, step 4: The loss is nan. Nothing of this step was taken over. Lower the learning rate,"
    )
    assert caught.value.reason == "Epoch 1, step 4: The loss is nan."
    assert pickle.loads(pickle.dumps(caught.value)).reason == caught.value.reason
    assert f"The last good state, epoch 1 behind step 3, lies in '{path}'." in str(caught.value)
    assert "resume it with clip_norm=..., or start in another folder with a lower learning rate" in str(caught.value)
    tree: Any = load_tree(path, "run")
    assert flat(tree["learner"]) == flat(learner.state_dict()) == flat(good.state_dict())
    assert flat(tree["optimizer"]) == flat(optimizer.state_dict())
    with pytest.raises(NonFiniteLoss, match="No state is kept, since no folder was given"):
        fit(learner, optimizer_of(learner), poisoned(0), epochs=1, progress=False)


def spoil(parameter: Tensor, at: int, wrapped: Callable[..., Any]) -> Callable[..., Any]:
    calls = iter(range(1, 1000))

    def step(*args: Any) -> Any:
        result = wrapped(*args)
        if next(calls) == at:
            with torch.no_grad():
                parameter.flatten()[0] = float("inf")
        return result

    return step


@pytest.mark.parametrize("at", [7, 2 * BATCHES], ids=["seen by a loss", "seen by a checkpoint"])
def test_a_broken_parameter_never_reaches_a_checkpoint(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = fresh()
    optimizer = optimizer_of(learner)
    monkeypatch.setattr(optimizer, "step", spoil(next(learner.parameters()), at, optimizer.step))
    with pytest.raises(NonFiniteLoss, match="The last good state, the end of epoch 1, lies in") as caught:
        fit(learner, optimizer, DATA.train, epochs=4, batch_size=SIZE, folder=tmp_path, progress=False)
    told = {
        7: "Epoch 2, step 3: The loss is nan.",
        2 * BATCHES: "Parameter 'model.1.weight' is not finite at the end of epoch 2, though every loss was.",
    }
    assert caught.value.reason == told[at]
    assert str(caught.value).startswith(f"{told[at]} ")
    tree: Any = load_tree(tmp_path / "checkpoint.safetensors", "run")
    assert all(value.isfinite().all() for value in tree["learner"].values())


def test_a_non_finite_update_is_not_made_where_updates_are_cut(tmp_path: Path) -> None:
    learner = fresh()
    original, calls = learner.learn, iter(range(1, 100))

    def learn(x: Any, y: Any) -> Any:
        learned = original(x, y)
        if next(calls) == 3:
            next(iter(learner.parameters())).grad[0] = float("inf")  # type: ignore[index]
        return learned

    learner.learn = learn  # type: ignore[method-assign]
    with pytest.raises(NonFiniteLoss, match=r"Epoch 1, step 3: The norm of the updates is inf.*good state, the start, lies in"):
        fit(learner, optimizer_of(learner), DATA.train, epochs=1, clip_norm=1.0, batch_size=SIZE, folder=tmp_path, progress=False)
    assert all(parameter.isfinite().all() for parameter in learner.parameters())


def test_a_learner_that_is_broken_from_the_start_is_told(tmp_path: Path) -> None:
    learner = fresh()
    with torch.no_grad():
        next(learner.parameters())[0] = float("nan")
    with pytest.raises(NonFiniteLoss, match=r"Parameter 'model\.1\.weight' is not finite at the start.*There is no good state yet"):
        fit(learner, optimizer_of(learner), DATA.train, epochs=1, folder=tmp_path, progress=False)
