"""Real handwritten digits: every preset learns them about as well as backpropagation (1437 to train, 360 to test)."""

import functools

import pytest
import torch
from torch import nn

from compiler import compile
from runtime import Learner, fit
from runtime.data import load_data
from runtime.data.standardise import standardise
from runtime.models import build_model
from wiring import PRESETS, parse_wiring

SEEDS = (0, 1, 2)


@functools.cache
def accuracy(model_text: str, preset: str, seed: int, lr: float) -> float:
    """Test accuracy in percent after 15 epochs under Adam, batch 32."""
    data = standardise(load_data("digits"))
    torch.manual_seed(seed)
    model: nn.Module = build_model(model_text, data.input_shape, data.classes)
    example = (data.train.x[:32], data.train.y[:32])
    learner = Learner(compile(model, parse_wiring(preset), example), seed=seed)
    optimizer = torch.optim.Adam(learner.parameters(), lr=lr)
    history = fit(learner, optimizer, data.train, epochs=15, test=data.test, batch_size=32, seed=seed, progress=False)
    final = history.last.test_accuracy
    assert final is not None
    return 100 * final


def mean(model_text: str, preset: str, seeds: tuple[int, ...], lr: float) -> float:
    return sum(accuracy(model_text, preset, seed, lr) for seed in seeds) / len(seeds)


@pytest.mark.parametrize("preset", sorted(set(PRESETS) - {"bp", "shallow"}))
def test_mlp_learns_digits_about_as_well_as_backpropagation(preset: str) -> None:
    """The 64-128-128-128-10 tanh network; mean of three seeds."""
    allowed = 4.0 if preset in ("sdfa", "sparse_dfa") else 2.0
    reference, reached = mean("mlp", "bp", SEEDS, 3e-3), mean("mlp", preset, SEEDS, 3e-3)
    assert reference > 95
    assert reached >= reference - allowed


@pytest.mark.parametrize("preset", ["fa", "kp", "ekdaa", "rec_lra"])
def test_resnet8_learns_digits_about_as_well_as_backpropagation(preset: str) -> None:
    reference, reached = mean("resnet8", "bp", (0,), 1e-3), mean("resnet8", preset, (0,), 1e-3)
    assert reference > 97
    assert reached >= reference - 3.0


def test_frozen_hidden_layers_learn_worse() -> None:
    assert mean("mlp", "shallow", (0,), 3e-3) < mean("mlp", "bp", (0,), 3e-3) - 2
