"""The two residual blocks of He et al., "Deep Residual Learning for Image Recognition" (2015), figure 5."""

import torch.nn.functional as F
from torch import Tensor, nn

from runtime.models.parts import conv1x1, conv3x3


def projection(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    """The shortcut: nothing where the shape stays, else a 1x1 convolution with batch norm (option B of the paper)."""
    if stride == 1 and channels_in == channels_out:
        return nn.Sequential()
    return nn.Sequential(conv1x1(channels_in, channels_out, stride), nn.BatchNorm2d(channels_out))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions: ``[N, channels_in, H, W]`` to ``[N, width, H / stride, W / stride]``."""

    expansion = 1

    def __init__(self, channels_in: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels_in, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = projection(channels_in, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions: ``[N, channels_in, H, W]`` to ``[N, 4 * width, H / stride, W / stride]``.

    The stride is in the 3x3 convolution, as in torchvision ("ResNet v1.5"), not in the first one as in the paper.
    """

    expansion = 4

    def __init__(self, channels_in: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = conv1x1(channels_in, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv1x1(width, width * self.expansion)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = projection(channels_in, width * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        identity = self.shortcut(x)
        out: Tensor = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out = self.relu(out + identity)
        return out


Block = type[BasicBlock] | type[Bottleneck]


def stage(block: Block, channels_in: int, width: int, count: int, stride: int) -> nn.Sequential:
    """``count`` blocks in a row, the first with ``stride``: out come ``width * block.expansion`` channels."""
    first = block(channels_in, width, stride)
    rest = (block(width * block.expansion, width) for _ in range(count - 1))
    return nn.Sequential(first, *rest)
