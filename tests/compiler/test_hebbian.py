"""Hebbian updates against hand-written ones: credit at the synapse's output, normalisation passed by."""

import copy

import pytest
import torch
from torch import Tensor, nn

from compiler import CreditError, compile
from runtime.learner import Learner, named_results
from wiring import Wiring, dfa, ekdaa, fa, kp, rec_lra

N = 6


def normalised() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Tanh(), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, stride=2), nn.GroupNorm(2, 6), nn.Tanh(), nn.Flatten(),
        nn.Linear(6, 8), nn.LayerNorm(8), nn.Sigmoid(), nn.Linear(8, 5),
    )  # fmt: skip


def batch() -> tuple[Tensor, Tensor]:
    return torch.randn(N, 2, 6, 6, dtype=torch.float64), torch.arange(N) % 5


def learned(model: nn.Module, wiring: Wiring) -> tuple[Learner, dict[str, Tensor], dict[str, Tensor]]:
    """The learner, its updates, and the credit of each site on the same batch."""
    torch.manual_seed(3)
    x, y = batch()
    learner = Learner(compile(model, wiring, (x, y)))
    lowered = learner.program.step(x, y, probe=True)
    results = named_results(lowered, learner.run(lowered, x, y))
    return learner, results["gradients"], results["credits"]


@pytest.mark.parametrize("wiring", [fa(), kp(), dfa(), ekdaa().but(reprojection=None)], ids=lambda wiring: wiring.name)
def test_credit_stands_at_the_output_of_the_synapse(wiring: Wiring) -> None:
    torch.manual_seed(0)
    model = normalised().double()
    _, updates, credits = learned(model, wiring.but(update="hebbian"))
    torch.manual_seed(3)
    x, _ = batch()
    inputs = [x]
    for layer in copy.deepcopy(model).train():
        inputs.append(layer(inputs[-1]))
    for synapse, site in ((0, "2"), (4, "6")):
        own = model[synapse]
        assert isinstance(own, nn.Conv2d)
        want = torch.nn.grad.conv2d_weight(
            inputs[synapse],
            own.weight.shape,
            credits[site],
            stride=own.stride,
            padding=own.padding,  # type: ignore[arg-type]
        )
        torch.testing.assert_close(updates[f"{synapse}.weight"], want / scale(wiring))
        torch.testing.assert_close(updates[f"{synapse}.bias"], credits[site].sum((0, 2, 3)) / scale(wiring))
    torch.testing.assert_close(updates["8.weight"], credits["10"].T @ inputs[8] / scale(wiring))
    hat = (inputs[10] - model[9].bias) / model[9].weight  # type: ignore[operator]
    torch.testing.assert_close(updates["9.weight"], (credits["10"] * hat).sum(0) / scale(wiring))


def scale(wiring: Wiring) -> float:
    """Credits under gradient come as ``dloss/dh``, batch means already; targets' errors are those of one sample."""
    return N if wiring.name == "ekdaa" else 1.0


def test_where_a_region_is_one_synapse_both_rules_are_one() -> None:
    def plain() -> nn.Sequential:
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 5)
        ).double()

    for wiring in (fa(), dfa(), rec_lra(gap=2)):
        _, local, _ = learned(plain(), wiring)
        _, hebbian, _ = learned(plain(), wiring.but(update="hebbian"))
        for name, update in local.items():
            assert torch.equal(update, hebbian[name]), (wiring.name, name)


def test_normalisation_makes_them_differ() -> None:
    torch.manual_seed(0)
    model = normalised().double()
    _, local, _ = learned(copy.deepcopy(model), fa())
    _, hebbian, _ = learned(model, fa().but(update="hebbian"))
    assert torch.equal(local["1.weight"], hebbian["1.weight"]), "the norm's own parameters learn alike"
    assert not torch.allclose(local["0.weight"], hebbian["0.weight"])
    assert torch.equal(local["11.weight"], hebbian["11.weight"]), "the output learns as usual"


def test_what_is_sent_on_still_goes_through_the_normalisation() -> None:
    torch.manual_seed(0)
    model = normalised().double()
    _, _, local = learned(copy.deepcopy(model), fa())
    _, _, hebbian = learned(model, fa().but(update="hebbian"))
    for site, credit in local.items():
        torch.testing.assert_close(credit, hebbian[site])


def test_two_synapses_in_a_row_are_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    example = torch.randn(3, 4), torch.tensor([0, 1, 0])
    with pytest.raises(
        CreditError, match=r"site '2' by the Hebbian rule, but synapse '0.weight' lies behind '1.weight'.*local_gradient"
    ):
        compile(model, dfa().but(update="hebbian"), example)
    compile(model, dfa().but(update="hebbian", sites__modules=("0",)), example)
