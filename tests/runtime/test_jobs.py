"""A training job before its first step: what a seed draws, what is told, and what is refused before the work."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from compiler import UpdateProgram
from runtime import TrainingError, TrainingWarning
from runtime.data import load_data
from runtime.jobs import Job, Source, train
from runtime.recipe import Recipe
from runtime.rng import seed_rng

DRAWN = """
import random

import numpy as np
import torch


def net(classes):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4), torch.nn.Tanh(), torch.nn.Linear(4, classes))
    with torch.no_grad():
        model[1].weight.copy_(torch.from_numpy(np.random.randn(4, 64)))
        model[3].bias.fill_(random.random())
    return model
"""


def job(folder: Path, wiring: str = "drtp", model: str = "mlp:width=4,depth=1", **recipe: Any) -> Job:
    return Job(model, wiring, Source(limit=20), Recipe(epochs=1, **recipe), folder, watch=False)


def told(what: Job) -> dict[str, str]:
    lines: dict[str, str] = {}
    train(what, False, lines.__setitem__)
    return lines


def test_the_seed_draws_what_a_factory_draws_by_numpy_and_random(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "drawn_nets.py").write_text(DRAWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    data, found = load_data("digits", limit=20), []

    def keep(model: nn.Module, *_: Any, **options: Any) -> UpdateProgram:
        found.append(list(model.parameters()))
        raise LookupError

    monkeypatch.setattr("runtime.jobs.compile", keep)
    for seed in (3, 3, 4):
        with pytest.raises(LookupError):
            job(tmp_path, model="drawn_nets:net", seed=seed).learner(data)
    assert all(map(torch.equal, found[0], found[1]))
    assert not any(map(torch.equal, found[0], found[2]))


def test_seeds_beyond_numpys_are_taken() -> None:
    drawn = []
    for seed in (2**32 + 5, 5):
        seed_rng(seed)
        drawn.append((np.random.rand(), random.random(), torch.rand(()).item()))
    assert drawn[0][0] == drawn[1][0]
    assert drawn[0][1:] != drawn[1][1:]


def test_the_recipe_is_told_whole(tmp_path: Path) -> None:
    options: dict[str, Any] = {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3, "clip_norm": 2.0}
    line = told(job(tmp_path / "a", "dkp", error_lr=0.01, seed=3, **options))["recipe"]
    settings = "lr 0.05, error lr 0.01, momentum 0.9, weight decay 0.001, clip norm 2"
    assert line == f"1 epoch, batches of 32, sgd, {settings}, seed 3"


def test_a_rate_for_synapses_that_do_not_learn_is_told(tmp_path: Path) -> None:
    with pytest.warns(TrainingWarning, match=r"--error-lr 0\.01 changes nothing: wiring 'drtp' learns no error synapse"):
        lines = told(job(tmp_path / "a", error_lr=0.01))
    assert lines["recipe"] == "1 epoch, batches of 32, adam, lr 0.001, seed 0"


def test_a_folder_that_cannot_be_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **options: Any) -> UpdateProgram:
        raise AssertionError("compiled")

    monkeypatch.setattr("runtime.jobs.compile", never)
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=r"The folder '.*file' cannot be made \(File exists\)\. Choose another\."):
        told(job(tmp_path / "file"))
    with pytest.raises(AssertionError, match="compiled"):
        told(job(tmp_path / "deep" / "new"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
