"""Ways of writing a forward pass that a tracer may stumble over."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from .case import CLASSES, Case, images, labels, vectors


class MLP(nn.Module):
    """Two hidden layers with a module list."""

    def __init__(self) -> None:
        super().__init__()
        widths = [64, 16, 16]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.layers:
            x = torch.tanh(layer(x))
        logits: Tensor = self.head(x)
        return logits


class TiedLayers(nn.Module):
    """One module called twice, and one parameter in two modules."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(12, 12)
        self.encode = nn.Linear(12, 8)
        self.decode = nn.Linear(8, 12)
        self.same = nn.Linear(12, 8)
        self.same.weight = self.encode.weight
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.inner(x))
        x = F.relu(self.inner(x))
        x = F.relu(self.decode(self.encode(x)))
        logits: Tensor = self.head(torch.tanh(self.same(x)))
        return logits


class TiedTransposed(nn.Module):
    """A weight used as it is on the way in and transposed on the way out, as in tied autoencoders."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 12) / 4)
        self.bias = nn.Parameter(torch.zeros(8))
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        code = torch.sigmoid(F.linear(x, self.weight, self.bias))
        decoded = code @ self.weight
        logits: Tensor = self.head(torch.tanh(decoded))
        return logits


class InplaceFunctional(nn.Module):
    """``F.relu_`` and ``nn.ReLU(inplace=True)`` on results of layers, and ``x.mul_`` in between."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(self.conv1(x))
        x = self.conv2(x)
        x.mul_(0.5)
        x = self.relu(x)
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class ModuleInForward(nn.Module):
    """Modules without parameters made anew in every call."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(10, 12)
        self.fc2 = nn.Linear(12, 12)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.ReLU()(self.fc1(x))
        x = nn.Tanh()(self.fc2(x))
        x = nn.Sequential(nn.Identity(), nn.LeakyReLU(0.1))(x)
        logits: Tensor = self.head(x)
        return logits


class ShapeDependent(nn.Module):
    """Python that looks at shapes: the branch, the view and the loop are settled by the example input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.head = nn.Linear(4 * 2 * 2, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x))
        if x.shape[-1] > 8:
            x = F.max_pool2d(x, 2)
        while x.shape[-1] > 2:
            x = F.avg_pool2d(x, 2)
        x = x.view(x.size(0), -1) * self.scale
        logits: Tensor = self.head(x / x.shape[1] ** 0.5)
        return logits


class UnrolledGRU(nn.Module):
    """A cell written by hand and ``nn.GRUCell``, stacked and unrolled over five steps."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Linear(6 + 8, 2 * 8)
        self.candidate = nn.Linear(6 + 8, 8)
        self.cell = nn.GRUCell(8, 8)
        self.head = nn.Linear(8, CLASSES)

    def step(self, x: Tensor, hidden: Tensor) -> Tensor:
        """``x`` is ``[N, 6]``, ``hidden`` ``[N, 8]``; so is the result."""
        reset, update = torch.sigmoid(self.gates(torch.cat([x, hidden], dim=1))).chunk(2, dim=1)
        proposal = torch.tanh(self.candidate(torch.cat([x, reset * hidden], dim=1)))
        return (1 - update) * hidden + update * proposal

    def forward(self, x: Tensor) -> Tensor:
        lower = upper = x.new_zeros(x.size(0), 8)
        for time in range(x.size(1)):
            lower = self.step(x[:, time], lower)
            upper = self.cell(lower, upper)
        logits: Tensor = self.head(upper)
        return logits


class Swish(nn.Module):
    """SiLU by hand, where ``x`` is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(10, 12)
        self.fc2 = nn.Linear(12, 12)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        x = x * torch.sigmoid(x)
        x = self.fc2(x)
        x = x * x.sigmoid()
        logits: Tensor = self.head(x)
        return logits


class Detached(nn.Module):
    """A running centre under ``torch.no_grad``, and a normalising factor taken out of the graph with ``detach``."""

    centre: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(10, 12)
        self.fc2 = nn.Linear(12, 12)
        self.head = nn.Linear(12, CLASSES)
        self.register_buffer("centre", torch.zeros(12))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.fc1(x))
        with torch.no_grad():
            centre = 0.9 * self.centre + 0.1 * x.mean(0)
        x = self.fc2(x - centre)
        x = x / (x.detach().norm(dim=1, keepdim=True) + 1e-3)
        logits: Tensor = self.head(F.relu(x))
        return logits


def prelu() -> nn.Module:
    """A learnt slope for each channel and one for all."""
    convolution = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.PReLU(6), nn.Conv2d(6, 6, 3, stride=2), nn.PReLU())
    return nn.Sequential(convolution, nn.Flatten(), nn.Linear(6 * 3 * 3, CLASSES))


def weight_normalised() -> nn.Module:
    """Convolutions whose weight is a parametrization: direction times length."""
    first = weight_norm(nn.Conv2d(3, 6, 3, padding=1))
    second = weight_norm(nn.Conv2d(6, 6, 3, padding=1))
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return nn.Sequential(first, nn.ELU(), second, nn.ELU(), pooled, weight_norm(nn.Linear(24, CLASSES)))


WRITING = (
    Case("mlp", MLP, images(1), labels),
    Case("tied_layers", TiedLayers, vectors(12), labels),
    Case("tied_transposed", TiedTransposed, vectors(12), labels),
    Case("inplace_relu", InplaceFunctional, images(), labels),
    Case("module_in_forward", ModuleInForward, vectors(10), labels),
    Case("shape_dependent", ShapeDependent, images(size=16), labels),
    Case("unrolled_gru", UnrolledGRU, vectors(5, 6), labels),
    Case("swish", Swish, vectors(10), labels),
    Case("detached", Detached, vectors(10), labels),
    Case("prelu", prelu, images(), labels),
    Case("weight_norm", weight_normalised, images(), labels),
)
