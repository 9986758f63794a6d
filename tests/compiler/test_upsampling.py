"""Pooling on error edges: unpooled as autograd does, or resampled to the size before pooling."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compiler import compile
from runtime.learner import Learner, named_results
from wiring import ByShape, Dense, Gradient, Kernel, Mirror, Pairwise, Rule, Wiring, bp, ekdaa, fa

POOLS = {
    "max": nn.MaxPool2d(2),
    "average": nn.AvgPool2d(2),
    "adaptive": nn.AdaptiveAvgPool2d(3),
    "overlapping": nn.MaxPool2d(3, stride=2, padding=1),
}


def net(pool: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), pool, nn.Conv2d(4, 5, 3), nn.Tanh(), nn.Flatten(), nn.Linear(5, 3)
    ).double()


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(4, 2, 6, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 0])


def credits(model: nn.Module, wiring: Wiring) -> tuple[dict[str, Tensor], Learner]:
    x, y = batch()
    learner = Learner(compile(model, wiring, (x, y)))
    lowered = learner.program.step(x, y, probe=True)
    return named_results(lowered, learner.run(lowered, x, y))["credits"], learner


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
def test_errors_are_resampled_to_the_size_before_pooling(pool: str, upsampling: str) -> None:
    model = net(POOLS[pool])
    found, learner = credits(model, fa().but(synapse__upsampling=upsampling))
    x, _ = batch()
    h = model[0](x)
    pooled = F.conv_transpose2d(found["4"], learner.error_synapses()["mirror:3.weight"])
    options = {} if upsampling == "nearest" else {"mode": "bilinear", "align_corners": False}
    want = F.interpolate(pooled, size=(6, 6), **options) * (1 - torch.tanh(h) ** 2)  # type: ignore[arg-type]
    torch.testing.assert_close(found["1"], want)


@pytest.mark.parametrize("pool", POOLS)
def test_unpooling_is_the_poolings_own_linearisation(pool: str) -> None:
    model = net(POOLS[pool])
    _, learner = credits(model, bp())
    x, y = batch()
    learner.learn(x, y)
    F.cross_entropy(model(x), y).backward()  # adds the same to what learn has put there
    twice = model[0].weight.grad
    model.zero_grad()
    F.cross_entropy(model(x), y).backward()
    torch.testing.assert_close(twice, 2 * model[0].weight.grad)  # type: ignore[operator]


def test_backpropagation_can_resample_too() -> None:
    model = net(POOLS["max"])
    usual, _ = credits(model, bp())
    found, _ = credits(model, bp().but(synapse__upsampling="bilinear"))
    assert torch.equal(usual["4"], found["4"])
    assert not torch.allclose(usual["1"], found["1"])


def test_pooling_along_one_and_three_axes() -> None:
    for axes in (1, 3):
        conv, pool = (nn.Conv1d, nn.MaxPool1d) if axes == 1 else (nn.Conv3d, nn.MaxPool3d)
        model = nn.Sequential(conv(1, 2, 3, padding=1), nn.Tanh(), pool(2), nn.Flatten(), nn.Linear(2 * 2**axes, 3)).double()
        x = torch.randn(2, 1, *[4] * axes, dtype=torch.float64)
        learner = Learner(compile(model, ekdaa().but(synapse__upsampling="bilinear"), (x, torch.tensor([0, 1]))))
        learner.learn(x, torch.tensor([0, 1]))
        assert model[0].weight.grad is not None
        assert model[0].weight.grad.abs().sum() > 0


def test_a_kernels_maps_are_resampled_as_its_word_says() -> None:
    synapse = ByShape(maps=Kernel(size=3, upsampling="bilinear"), vectors=Dense())
    wiring = Wiring(name="kernels", rules=(Rule(topology=Pairwise(), synapse=synapse, credit=Gradient()),))
    model = net(POOLS["max"])
    torch.manual_seed(2)
    model[3] = nn.Conv2d(4, 5, 2).double()
    model[6] = nn.Linear(20, 3).double()
    found, learner = credits(model, wiring)
    x, _ = batch()
    arrived = F.conv2d(found["4"], learner.error_synapses()["4->1"], padding=1)
    want = F.interpolate(arrived, size=(6, 6), mode="bilinear", align_corners=False) * (1 - torch.tanh(model[0](x)) ** 2)
    torch.testing.assert_close(found["1"], want)


def test_the_word_is_part_of_the_mirror() -> None:
    assert Mirror().upsampling == "unpool"
    assert Wiring.from_json(ekdaa().but(synapse__upsampling="nearest").to_json()) == ekdaa().but(synapse__upsampling="nearest")
