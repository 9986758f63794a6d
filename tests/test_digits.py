"""Real handwritten digits: every preset learns them about as well as backpropagation (1437 to train, 360 to test)."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

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
Optimiser = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


@dataclass(frozen=True)
class Recipe:
    """A model, its optimiser, and whether each pixel is standardised; 15 epochs in batches of 32."""

    model: str
    optimiser: Optimiser
    standardised: bool = True


ADAM = Recipe("mlp", functools.partial(torch.optim.Adam, lr=3e-3))
NESTEROV = Recipe("mlp", functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True), standardised=False)
RESNET = Recipe("resnet8", functools.partial(torch.optim.Adam, lr=1e-3))


@functools.cache
def accuracy(recipe: Recipe, preset: str, seed: int) -> float:
    """Test accuracy in percent."""
    data = load_data("digits")
    data = standardise(data) if recipe.standardised else data
    torch.manual_seed(seed)
    model = build_model(recipe.model, data.input_shape, data.classes)
    example = (data.train.x[:32], data.train.y[:32])
    learner = Learner(compile(model, parse_wiring(preset), example), seed=seed)
    optimizer = recipe.optimiser(learner.parameters())
    history = fit(learner, optimizer, data.train, epochs=15, test=data.test, batch_size=32, seed=seed, progress=False)
    assert history.last.test_accuracy is not None
    return 100 * history.last.test_accuracy


def mean(recipe: Recipe, preset: str, seeds: tuple[int, ...] = SEEDS) -> float:
    return sum(accuracy(recipe, preset, seed) for seed in seeds) / len(seeds)


@pytest.mark.parametrize("preset", sorted(set(PRESETS) - {"bp", "shallow"}))
def test_mlp_learns_digits_about_as_well_as_backpropagation(preset: str) -> None:
    """The 64-128-128-128-10 tanh network, mean of three seeds; DRTP with its paper's optimiser, BP with the same."""
    recipe = NESTEROV if preset == "drtp" else ADAM
    allowed = 4.0 if preset in ("sdfa", "sparse_dfa") else 2.0
    reference, reached = mean(recipe, "bp"), mean(recipe, preset)
    assert reference > 96
    assert reached >= reference - allowed


@pytest.mark.parametrize("preset", ["fa", "kp", "ekdaa", "rec_lra"])
def test_resnet8_learns_digits_about_as_well_as_backpropagation(preset: str) -> None:
    reference, reached = mean(RESNET, "bp", (0,)), mean(RESNET, preset, (0,))
    assert reference > 97
    assert reached >= reference - 3.0


def test_frozen_hidden_layers_learn_worse() -> None:
    assert mean(ADAM, "shallow", (0,)) < mean(ADAM, "bp", (0,)) - 2
