"""Difference target propagation through the door for extensions, against a plain one written here, and that it learns."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from extending_case import batch, example, grads, learned, network
from sklearn.datasets import load_digits
from torch import Tensor, nn

from compiler import EdgeError, SiteError, compile
from compiler.extend import Plastic
from compiler.plasticity import RULES
from runtime import Learner
from wiring import Edge, Explicit, Hebbian, Wiring, bp, dfa

difference = example("difference_target_propagation")
BETA, STD = 0.7, 0.3


def decoded(synapse: Tensor, value: Tensor) -> Tensor:
    return torch.tanh(value @ synapse[:, :-1].T + synapse[:, -1])


def by_hand(decoders: dict[int, Tensor], seed: int) -> tuple[dict[str, Tensor], dict[int, Tensor]]:
    """Difference target propagation, step by step: gradients of every forward parameter, and of decoder ``i`` from ``z_i`` to ``z_{i-1}``."""
    model, (x, y) = network(), batch()
    layers = [model[0], model[2], model[4]]
    z = [x]
    for layer in layers:
        z.append(torch.tanh(layer(z[-1])).detach())
    top = z[3].clone().requires_grad_()
    output = F.cross_entropy(model[6](top), y)
    gradient, *last = torch.autograd.grad(output, [top, *model[6].parameters()])
    aims = {3: z[3] - BETA * len(x) * gradient}
    for i in (3, 2):
        aims[i - 1] = z[i - 1] + decoded(decoders[i], aims[i]) - decoded(decoders[i], z[i])
    found = dict(zip(("6.weight", "6.bias"), last, strict=True))
    for i, layer in enumerate(layers, 1):
        local = (torch.tanh(layer(z[i - 1])) - aims[i].detach()).square().sum(1).mean()
        found |= dict(
            zip(
                (f"{2 * i - 2}.weight", f"{2 * i - 2}.bias"),
                torch.autograd.grad(local, list(layer.parameters())),
                strict=True,
            )
        )
    torch.manual_seed(seed)
    taught = {}
    for i in (3, 2):
        noisy = z[i - 1] + STD * torch.randn_like(z[i - 1])
        synapse = decoders[i].detach().requires_grad_()
        back = decoded(synapse, torch.tanh(layers[i - 1](noisy)).detach())
        taught[i] = torch.autograd.grad((back - noisy).square().sum(1).mean(), synapse)[0]
    return found, taught


def test_every_update_is_that_of_a_plain_implementation() -> None:
    learner = learned(difference.dtp(beta=BETA, std=STD), seed=5)
    own = learner.error_synapses()
    forward, decoders = by_hand({3: own["5->3"].detach(), 2: own["3->1"].detach()}, seed=5)
    for name, want in forward.items():
        torch.testing.assert_close(grads(learner.model)[name], want, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(own["5->3"].grad, decoders[3], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(own["3->1"].grad, decoders[2], rtol=1e-10, atol=1e-12)


def test_it_learns_digits_and_its_decoders_learn_to_invert() -> None:
    data = load_digits()
    x, y = torch.tensor(data.data, dtype=torch.float32) / 16, torch.tensor(data.target)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 10)
    )
    learner = Learner(compile(model, difference.dtp(), (x[:50], y[:50])))

    def error() -> float:
        """Of the upper decoder on images that were not trained on."""
        with torch.no_grad():
            z2 = model[:4](x[1500:])
            return float((decoded(learner.error_synapses()["5->3"], model[4:6](z2)) - z2).square().mean())

    before = error()
    optimizer = torch.optim.Adam(learner.parameters(), lr=3e-3)
    for _ in range(8):
        for start in range(0, 1500, 50):
            learner.learn(x[start : start + 50], y[start : start + 50])
            optimizer.step()
            optimizer.zero_grad()
    assert error() < 0.5 * before
    assert float((model(x[1500:]).argmax(1) == y[1500:]).float().mean()) > 0.85


def test_the_forward_map_runs_through_whatever_lies_between() -> None:
    """Pooling, the mask of a dropout, batch statistics: at the receiver's own value it gives the sender's."""

    class Seeing(difference.Reconstruction):  # type: ignore[misc, name-defined]
        kind: str = "seeing"

    def look(spec: Seeing, edge: Plastic) -> Tensor:
        return edge.outer(edge.receiver.error).mul(0.0) + (edge.forward(edge.receiver.z) - edge.sender.z).abs().max()

    RULES[Seeing] = look
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.MaxPool2d(2), nn.Dropout(0.3), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Tanh(),
        nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 4),
    ).double()  # fmt: skip
    wiring = bp().but(synapse__kind="dense", plasticity=Seeing())
    learner = Learner(compile(model, wiring, (torch.randn(5, 1, 8, 8).double(), batch()[1])))
    before = {name: value.clone() for name, value in model.named_buffers()}
    learner.learn(torch.randn(5, 1, 8, 8).double(), batch()[1])
    assert all(float(synapse.grad.abs().max()) < 1e-12 for synapse in learner.error_parameters())  # type: ignore[union-attr]
    assert int(model[5].num_batches_tracked) == int(before["5.num_batches_tracked"]) + 1  # type: ignore[arg-type]


def test_a_model_with_branches_is_no_chain() -> None:
    class Branched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.last = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            z = torch.tanh(self.first(x))
            out: Tensor = self.last(torch.tanh(self.second(z)) * 2 + z)
            return out

    with pytest.raises(SiteError, match=r"The sites of this model form no chain: .* is read by .*Use a model without branches"):
        compile(Branched().double(), difference.dtp(), batch())


def test_no_forward_map_against_the_current() -> None:
    class Backwards(difference.Reconstruction):  # type: ignore[misc, name-defined]
        kind: str = "backwards"

    RULES[Backwards] = lambda spec, edge: edge.outer(edge.receiver.error) * edge.forward(edge.receiver.z).sum()
    edges = (Edge(source="output", target="1"), Edge(source="1", target="3"), Edge(source="output", target="5"))
    wiring = dfa().but(topology=Explicit(edges=edges), plasticity=Backwards())
    with pytest.raises(EdgeError, match=r"No value flows from .3. to .1., so there is no forward map"):
        compile(network(), wiring, batch())


def test_it_is_a_wiring_like_any() -> None:
    wiring = difference.dtp(std=0.2)
    assert Wiring.from_json(wiring.to_json()) == wiring
    assert wiring.but(plasticity=Hebbian()).rules[0].plasticity == Hebbian()


@pytest.mark.parametrize("options", [{"layout": "channels_last"}, {"autocast": torch.bfloat16}], ids=["channels_last", "bfloat16"])
def test_maps_in_other_formats_and_precisions(options: dict[str, Any]) -> None:
    """Decoders between maps; without noise to speak of, since another order draws it anew."""

    def decoders(**options: Any) -> list[Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(16, 4)
        )
        x = torch.randn(5, 1, 8, 8)
        learner = Learner(compile(model, difference.dtp(std=1e-6), (x, batch()[1]), **options))
        learner.learn(x, batch()[1])
        return [synapse.grad for synapse in learner.error_parameters()]

    for got, want in zip(decoders(**options), decoders(), strict=True):
        assert got.dtype == torch.float32
        assert float((got - want).norm() / want.norm()) < (2e-2 if "autocast" in options else 1e-5)
