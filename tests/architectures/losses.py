"""Other losses and other numbers of inputs."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .case import BATCH, CLASSES, Case, generator, labels, vectors


class LogSoftmaxNet(nn.Module):
    """The output is ``F.log_softmax``, for ``F.nll_loss``."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(10, 12)
        self.fc2 = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.fc1(x))
        return F.log_softmax(self.fc2(x), dim=1)


class TwoInputs(nn.Module):
    """An image ``[N, 3, 8, 8]`` and a vector ``[N, 6]``, each through a tower of its own, gated and concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.vector = nn.Linear(6, 6)
        self.gate = nn.Linear(6, 6)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, image: Tensor, vector: Tensor) -> Tensor:
        seen = self.image(image).flatten(1)
        known = torch.tanh(self.vector(vector))
        seen = seen * torch.sigmoid(self.gate(vector))
        logits: Tensor = self.head(torch.cat([seen, known], dim=-1))
        return logits


def binary() -> nn.Module:
    """One probability ``[N, 1]``, for ``F.binary_cross_entropy``."""
    return nn.Sequential(nn.Linear(10, 12), nn.Tanh(), nn.Linear(12, 1), nn.Sigmoid())


def regression() -> nn.Module:
    """Three numbers ``[N, 3]``, for ``F.mse_loss``."""
    return nn.Sequential(nn.Linear(10, 12), nn.Softplus(), nn.Linear(12, 12), nn.SELU(), nn.Linear(12, 3))


def coins() -> Tensor:
    """``[4, 1]`` zeros and ones, float32."""
    return torch.randint(2, (BATCH, 1), generator=generator()).float()


def targets() -> Tensor:
    """``[4, 3]`` float32, normal."""
    return torch.randn(BATCH, 3, generator=generator())


def image_and_vector() -> tuple[Tensor, ...]:
    """``[4, 3, 8, 8]`` and ``[4, 6]``, normal."""
    source = generator()
    return torch.randn(BATCH, 3, 8, 8, generator=source), torch.randn(BATCH, 6, generator=source)


LOSSES = (
    Case("nll", LogSoftmaxNet, vectors(10), labels, F.nll_loss),
    Case("bce", binary, vectors(10), coins, F.binary_cross_entropy),
    Case("mse", regression, vectors(10), targets, F.mse_loss),
    Case("two_inputs", TwoInputs, image_and_vector, labels),
)
