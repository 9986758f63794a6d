"""Handwritten digits: targets come within 90 degrees of backpropagation, and DKP aligns its synapses with the output more than DFA does.

Statistical: seeds 0 and 1, 1437 images to train, angles over the 360 test images.
"""

import functools

import pytest
import torch
from torch import Tensor, nn

from compiler import compile
from runtime import Learner, alignment, fit
from runtime.data import load_data
from runtime.data.record import Data
from runtime.data.standardise import standardise
from runtime.models import build_model
from wiring import Wiring, dfa, dkp, ekdaa, rec_lra

SEEDS = [0, 1]


@functools.cache
def digits() -> Data:
    return standardise(load_data("digits"))


def train(learner: Learner, epochs: int, seed: int) -> float:
    """By Adam at 1e-3, in batches of 32; test accuracy."""
    optimizer = torch.optim.Adam(learner.parameters(), lr=1e-3)
    data = digits()
    history = fit(learner, optimizer, data.train, epochs=epochs, test=data.test, batch_size=32, seed=seed, progress=False)
    assert history.last.test_accuracy is not None
    return history.last.test_accuracy


def learner_of(model: nn.Module, wiring: Wiring, seed: int) -> Learner:
    train = digits().train
    return Learner(compile(model, wiring, (train.x[:32], train.y[:32])), seed=seed)


# ------------------------------------------------------------------------------------------------ rec-LRA and EKDAA


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("wiring", [rec_lra(), ekdaa()], ids=lambda wiring: wiring.name)
def test_targets_come_within_90_degrees_of_backpropagation(wiring: Wiring, seed: int) -> None:
    """Eight hidden layers of 64 tanh units, 10 epochs. Measured: sites end at 61.3 degrees at most under rec-LRA and 70.2 under EKDAA, weights
    at 69.3, all parameters together at 42 to 49; sites start at 84 to 97. No bias is asked for: one ended at 78.3, under EKDAA.
    """
    torch.manual_seed(seed)
    learner = learner_of(build_model("mlp:width=64,depth=8", digits().input_shape, 10), wiring, seed)
    test = digits().test
    before = alignment(learner, test.x, test.y)
    assert train(learner, 10, seed) > 0.7
    after = alignment(learner, test.x, test.y)
    assert len(after.sites) == 8
    assert max(after.sites.values()) < 85
    assert max(angle for name, angle in after.parameters.items() if name.endswith("weight")) < 90
    assert after.mean < 65 < before.mean


# ------------------------------------------------------------------------------------------------ DKP and DFA


def normalised() -> nn.Sequential:
    """Three hidden layers of 64 units, batch-normalised; the sites are ``3``, ``6`` and ``9``."""
    hidden = [module for _ in range(3) for module in (nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(64, 10))


@torch.no_grad()
def to_output(learner: Learner, x: Tensor) -> list[float]:
    """Degrees between ``z_i B_i^T`` and the output's pre-activation ``v``, a site each, mean over the samples."""
    learner.eval()
    values = [x]
    for module in learner.model:
        values.append(module(values[-1]))
    learner.train()
    seen = [values[site + 1] @ learner.error_synapses()[f"output->{site}"].T for site in (3, 6, 9)]
    return [torch.rad2deg(torch.cosine_similarity(carried, values[-1]).acos()).mean().item() for carried in seen]


@pytest.mark.parametrize("seed", SEEDS)
def test_direct_kolen_pollack_aligns_sites_with_the_output_more_than_direct_feedback_alignment(seed: int) -> None:
    """DKP's signature. Five epochs; when this was written from 72 to 107 degrees down to 25 to 37, DFA's to 44 to 57."""
    first: dict[str, list[float]] = {}
    last: dict[str, list[float]] = {}
    for wiring in (dkp(), dfa()):
        torch.manual_seed(seed)
        learner = learner_of(normalised(), wiring, seed)
        first[wiring.name] = to_output(learner, digits().test.x)
        assert train(learner, 5, seed) > 0.85
        last[wiring.name] = to_output(learner, digits().test.x)
    assert first["dkp"] == first["dfa"]
    for before, learnt, fixed in zip(first["dkp"], last["dkp"], last["dfa"], strict=True):
        assert learnt < before - 20
        assert learnt < fixed - 8
