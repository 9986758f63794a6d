"""Models, programs and comparisons for the tests on a GPU."""

import copy
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from compiler import UpdateProgram, compile
from runtime import Learner
from runtime.models import build_model
from wiring import parse_wiring

DEVICE = "cuda"
WIRINGS = ["bp", "fa", "kp", "sign_symmetry", "dfa", "dkp", "drtp", "lra_e", "rec_lra", "ekdaa"]
EXECUTORS = [("streams", 2), ("streams", 4), ("graph", 1), ("graph", 4)]


class Branches(nn.Module):
    """Three branches of unlike kernels side by side, twice, a skip connection around: ``[N, 3, 8, 8] -> [N, 10]``."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 3 * width, 3, padding=1), nn.BatchNorm2d(3 * width), nn.Tanh())
        self.stages = nn.ModuleList(
            nn.ModuleList(nn.Sequential(nn.Conv2d(3 * width, width, k, padding=k // 2), nn.Tanh()) for k in (1, 3, 5))
            for _ in range(2)
        )
        self.head = nn.Linear(3 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for branches in self.stages:
            x = x + torch.cat([branch(x) for branch in branches], dim=1)
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class Wide(nn.Module):
    """Branches of large matrix products, each too small to fill a device by itself: ``[64, width] -> [64, 10]``."""

    def __init__(self, width: int = 4096, branches: int = 4) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(branches))
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.stack([branch(x) for branch in self.branches]).sum(0))
        return logits


def model(name: str) -> nn.Module:
    """A new model on the device, the same each time."""
    torch.manual_seed(0)
    if name == "branches":
        return Branches().to(DEVICE)
    if name == "dropout":
        layers = (nn.Flatten(), nn.Linear(192, 64), nn.Tanh(), nn.Dropout(0.5), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
        return nn.Sequential(*layers).to(DEVICE)
    return build_model(name, (3, 8, 8), 10).to(DEVICE)


def batch(size: int = 16, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images ``[N, 3, 8, 8]`` and labels, the same for a seed on every machine."""
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(size, 3, 8, 8, generator=generator), torch.randint(0, 10, (size,), generator=generator)
    return x.to(DEVICE), y.to(DEVICE)


def program(wiring: str, name: str = "resnet8:width=8", autocast: torch.dtype | None = None) -> UpdateProgram:
    """A compiled program."""
    with warnings.catch_warnings(action="ignore"):
        return compile(model(name), parse_wiring(wiring), batch(), autocast=autocast)


def learner(compiled: UpdateProgram, executor: str, streams: int | None = None) -> Learner:
    """A learner on a copy of a program and its model."""
    return Learner(copy.deepcopy(compiled), backend=executor, streams=streams)


def gradients(own: Learner) -> dict[str, Tensor]:
    """Copies of every gradient."""
    return {name: p.grad.clone() for name, p in own.named_parameters() if p.grad is not None}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def distance(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """The largest difference of a tensor over the largest number of any: where all is zero but rounding, that is no fault."""
    assert one.keys() == other.keys()
    scale = max(value.abs().max().item() for value in other.values() if value.is_floating_point() and value.numel())
    worst = 0.0
    for name, value in other.items():
        own = one[name]
        assert torch.isfinite(own.double()).all(), name
        largest = max(value.double().abs().max().item(), 1e-3 * scale)
        worst = max(worst, (own.double() - value.double()).abs().max().item() / largest)
    return worst
