"""A ResNet as somebody else would write it: pre-activation, squeeze-and-excitation, functional activations, no base class.

errorwire knows nothing of it; `errorwire compare rec_lra dkp --model examples.own_resnet:preact_se` learns it all the same.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Squeeze(nn.Module):
    """Scale each channel by what the whole picture says of it: ``[N, C, H, W] -> [N, C, H, W]``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.Linear(channels, channels // 4)
        self.up = nn.Linear(channels // 4, channels)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3))))))
        return x * weights[:, :, None, None]


class Block(nn.Module):
    """norm, relu, convolution, twice, then squeeze-and-excitation and the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.squeeze = Squeeze(outputs)
        self.project = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if (inputs, stride) != (outputs, 1) else None

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.norm1(x))
        shortcut = x if self.project is None else self.project(out)
        out = self.conv2(F.relu_(self.norm2(self.conv1(out))))
        out = self.squeeze(out)
        out += shortcut
        return out


class PreactSE(nn.Module):
    """Stem, three blocks, head: ``[N, C, H, W] -> [N, classes]``."""

    def __init__(self, channels: int, classes: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.blocks = nn.ModuleList([Block(width, width, 1), Block(width, 2 * width, 2), Block(2 * width, 4 * width, 2)])
        self.norm = nn.BatchNorm2d(4 * width)
        self.head = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(F.adaptive_avg_pool2d(F.relu(self.norm(x)), 1).flatten(1))
        return logits


def preact_se(input_shape: tuple[int, ...], classes: int, width: int = 16) -> nn.Module:
    """The factory that the command line calls."""
    return PreactSE(input_shape[0], classes, width)
