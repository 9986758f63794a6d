"""DRTP's synthetic studies make the released code's steps: hand-written here, from zero weights, momentum and all."""

import math

import pytest
import torch
from torch import Tensor, nn

from runtime.learner import Learner
from runtime.optimizers import build_optimizer
from runtime.reproduce.engine import learner_of
from runtime.reproduce.problems import Problem
from runtime.reproduce.studies import STUDIES
from runtime.reproduce.study import Case
from runtime.reproduce.synthetic import cosines, gaussian_clusters

STEPS, SAMPLES = 4, 50
SIGNALS = {"dfa": lambda error, t: error, "sdfa": lambda error, t: torch.sign(error), "drtp": lambda error, t: t}


def by_hand(case: Case, learner: Learner, batches: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """The parameters after a step on every batch: hidden updates are sums over the batch, the output's the mean loss gradient."""
    layers = [layer for layer in learner.model if isinstance(layer, nn.Linear)]
    values = {name: value.detach().clone() for name, value in learner.model.named_parameters()}
    b1, b2 = (value.detach() for value in learner.error_synapses().values())
    velocity = {name: torch.zeros_like(value) for name, value in values.items()}
    assert [tuple(b.shape) for b in (b1, b2)] == [(10, layers[0].out_features), (10, layers[1].out_features)]
    for x, y in batches:
        x, t = x.flatten(1), nn.functional.one_hot(y, 10).float() if case.loss == "bce" else y
        z1 = torch.tanh(x @ values["hidden1.weight"].T + values["hidden1.bias"])
        z2 = torch.tanh(z1 @ values["hidden2.weight"].T + values["hidden2.bias"])
        v = z2 @ values["output.weight"].T + values["output.bias"]
        error = (torch.sigmoid(v) if case.loss == "bce" else v) - t
        mean = error * (1 if case.loss == "bce" else 2) / error.numel()  # dloss/dv of the mean over samples and outputs
        signal = SIGNALS[case.name](error, t)
        credits = {"hidden1": signal @ b1 * (1 - z1**2), "hidden2": signal @ b2 * (1 - z2**2), "output": mean}
        for name, inputs in (("hidden1", x), ("hidden2", z1), ("output", z2)):
            for part, update in (("weight", credits[name].T @ inputs), ("bias", credits[name].sum(0))):
                key = f"{name}.{part}"
                velocity[key] = 0.9 * velocity[key] + update
                values[key] -= 5e-4 * (update + 0.9 * velocity[key])
    return values


@pytest.mark.parametrize(
    ("study", "name"), [("drtp_classification", n) for n in SIGNALS] + [("drtp_regression", n) for n in ("dfa", "sdfa")]
)
def test_a_step_is_the_released_codes(study: str, name: str) -> None:
    (case,) = STUDIES[study].fitting(name)
    torch.manual_seed(1)
    shape = (256, 1, 1) if case.loss == "bce" else (256,)
    labels = torch.arange(SAMPLES) % 10 if case.loss == "bce" else torch.rand(SAMPLES, 10)
    batches = [(torch.randn(SAMPLES, *shape), labels.roll(step, 0)) for step in range(STEPS)]
    samples = torch.utils.data.TensorDataset(*batches[0])
    learner = learner_of(case, Problem(samples, samples, shape, 10), seed=0)
    hidden = [value for key, value in learner.model.named_parameters() if key.endswith("weight")]
    assert all(not value.any() for value in hidden)
    assert all(value.all() for key, value in learner.model.named_parameters() if key.endswith("bias"))
    wanted = by_hand(case, learner, batches)
    optimizer = build_optimizer(learner, case.optimizer)
    for x, y in batches:
        learner.learn(x, y)
        optimizer.step()
        optimizer.zero_grad()
    for key, value in learner.model.named_parameters():
        torch.testing.assert_close(value, wanted[key], rtol=1e-4, atol=1e-6)


def test_targets_are_cosines_of_the_inputs_mean() -> None:
    train, test = cosines()
    assert (len(train), len(test)) == (5000, 1000)
    x, t = test.tensors
    assert (x.shape[1], t.shape[1]) == (256, 10)
    for output in (0, 4, 9):
        torch.testing.assert_close(t[:, output], torch.cos(x.mean(1) - math.pi / 2 + output * math.pi / 9))
    assert x.std(1).mean() == pytest.approx(1, abs=0.01)  # around a mean of its own
    assert x.mean(1).std() == pytest.approx(math.pi / math.sqrt(3), abs=0.1)
    assert all(torch.equal(one, other) for one, other in zip(cosines()[0].tensors, train.tensors, strict=True))


def test_clusters_are_the_released_codes() -> None:
    train, test = gaussian_clusters()
    assert (list(train.x.shape), list(test.x.shape)) == ([25000, 256, 1, 1], [5000, 256, 1, 1])
    counts = torch.bincount(torch.cat([train.y, test.y]))
    assert len(counts) == 10
    assert counts.float().std() < 0.02 * 3000
