"""Options that the papers leave open: signs, the restored derivative, magnitudes, kappa; each against a step written by hand."""

import pytest
import torch
from torch import Tensor, nn

from compiler import compile
from runtime.learner import Learner
from wiring import Hebbian, Wiring, bp, dfa, dkp, fa, kp, rec_lra, sign_symmetry

N = 7


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def step(wiring: Wiring) -> Learner:
    torch.manual_seed(1)
    x, y = torch.randn(N, 4, dtype=torch.float64), torch.arange(N) % 3
    learner = Learner(compile(net(), wiring, (x, y)))
    learner.learn(x, y)
    return learner


def updates(learner: Learner) -> dict[str, Tensor]:
    return {name: parameter.grad for name, parameter in learner.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("wiring", [kp(), dkp(), rec_lra(gap=2), rec_lra(gap=2, plasticity="displacement")], ids=lambda w: w.name)
def test_either_sign_of_a_plasticity_rule(wiring: Wiring) -> None:
    sign = getattr(wiring.rules[0].plasticity, "sign")  # noqa: B009 - every rule that learns has it
    usual, turned = updates(step(wiring)), updates(step(wiring.but(plasticity__sign=-sign)))
    for name, update in usual.items():
        assert torch.equal(turned[name], -update if name.startswith("synapses") else update), name


@pytest.mark.parametrize("post", ["displacement", "activity", "error"])
def test_the_derivative_restored_in_the_error_synapses(post: str) -> None:
    beta, gamma = 0.3, 0.2
    wiring = rec_lra(gap=1, beta=beta, gamma=gamma).but(
        plasticity=Hebbian(post=post, gamma=gamma, sign=-1, derivative=True),
        reprojection=None,  # type: ignore[arg-type]
    )
    learner = step(wiring)
    torch.manual_seed(1)
    x, y = torch.randn(N, 4, dtype=torch.float64), torch.arange(N) % 3
    model, synapses = learner.model, learner.error_synapses()
    h1 = model[0](x)  # type: ignore[index]
    h2 = model[2](torch.tanh(h1))  # type: ignore[index]
    error = torch.softmax(model[4](torch.tanh(h2)), 1) - torch.eye(3, dtype=torch.float64)[y]  # type: ignore[index]
    for h, name in ((h2, "output->3"), (h1, "3->1")):
        d = error @ synapses[name]
        z, aim = torch.tanh(h), h - beta * d
        own = {"displacement": d, "activity": z, "error": z - torch.tanh(aim)}[post]
        want = -gamma * error.T @ (own * (1 - torch.tanh(aim) ** 2)) / N
        torch.testing.assert_close(synapses[name].grad, want)
        error = z - torch.tanh(aim)


def test_constant_magnitudes_of_sign_symmetry_are_the_mean_of_the_initial_distribution() -> None:
    """Kaiming's ``U(-b, b)`` with ``b = sqrt(6 / fan_in)``, so ``b / 2`` behind every sign."""
    learner = step(sign_symmetry("usf"))
    torch.manual_seed(1)
    x, y = torch.randn(N, 4, dtype=torch.float64), torch.arange(N) % 3
    model = learner.model
    h1 = model[0](x)  # type: ignore[index]
    h2 = model[2](torch.tanh(h1))  # type: ignore[index]
    error = torch.softmax(model[4](torch.tanh(h2)), 1) - torch.eye(3, dtype=torch.float64)[y]  # type: ignore[index]
    c2 = error @ (model[4].weight.sign() * (6 / 5) ** 0.5 / 2) * (1 - torch.tanh(h2) ** 2)  # type: ignore[index]
    c1 = c2 @ (model[2].weight.sign() * (6 / 6) ** 0.5 / 2) * (1 - torch.tanh(h1) ** 2)  # type: ignore[index]
    torch.testing.assert_close(model[2].weight.grad, c2.T @ torch.tanh(h1) / N)  # type: ignore[index]
    torch.testing.assert_close(model[0].weight.grad, c1.T @ x / N)  # type: ignore[index]


def test_kappa_scales_what_hidden_sites_teach() -> None:
    usual, scaled = updates(step(dfa())), updates(step(dfa(kappa=10.0)))
    for name, update in usual.items():
        torch.testing.assert_close(scaled[name], update if name.startswith("model.4") else 10 * update)


@pytest.mark.parametrize("wiring", [bp(), fa()], ids=lambda w: w.name)
def test_kappa_does_not_scale_what_a_site_sends_on(wiring: Wiring) -> None:
    usual, scaled = updates(step(wiring)), updates(step(wiring.but(credit__kappa=3.0)))
    for name, update in usual.items():
        torch.testing.assert_close(scaled[name], update if name.startswith("model.4") else 3 * update)


def test_the_released_code_of_drtp_for_dfa() -> None:
    """Hidden updates are sums over the batch of ``B (y - t) * phi'``, under a loss that is a mean over batch and classes."""

    def loss(output: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(output, labels)

    torch.manual_seed(1)
    x, t = torch.randn(N, 4, dtype=torch.float64), torch.eye(3, dtype=torch.float64)[torch.arange(N) % 3]
    learner = Learner(compile(net(), dfa(reduction="sum", kappa=3.0), (x, t), loss))
    learner.learn(x, t)
    model, synapses = learner.model, learner.error_synapses()
    h1 = model[0](x)  # type: ignore[index]
    h2 = model[2](torch.tanh(h1))  # type: ignore[index]
    error = torch.sigmoid(model[4](torch.tanh(h2))) - t  # type: ignore[index]
    c1 = (error @ synapses["output->1"]) * (1 - torch.tanh(h1) ** 2)
    torch.testing.assert_close(model[0].weight.grad, c1.T @ x)  # type: ignore[index]
    torch.testing.assert_close(model[4].weight.grad, error.T @ torch.tanh(h2) / (N * 3))  # type: ignore[index]
