"""Residual networks in the variants of the literature, all thin and short except the 20 layers of the first."""

import torch.nn.functional as F
from torch import Tensor, nn

from .case import CLASSES, Case, images, labels


def conv3x3(channels_in: int, channels_out: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Bias-free, with padding 1."""
    return nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, groups=groups, bias=False)


class PaddedBlock(nn.Module):
    """He et al. 2015 with shortcuts of option A: every other pixel, and zeros for the new channels."""

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels_in, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride = stride
        self.pad = (width - channels_in) // 2

    def shortcut(self, x: Tensor) -> Tensor:
        """``x`` itself or, with a stride, the subsampled and padded one."""
        if self.stride == 1:
            return x
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad), "constant", 0)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        out = F.relu(out)
        return out


class ResNet20(nn.Module):
    """Three stages of three blocks."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.conv1 = conv3x3(3, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = self._stage(width, width, 1)
        self.layer2 = self._stage(width, 2 * width, 2)
        self.layer3 = self._stage(2 * width, 4 * width, 2)
        self.linear = nn.Linear(4 * width, CLASSES)

    @staticmethod
    def _stage(channels_in: int, width: int, stride: int) -> nn.Sequential:
        return nn.Sequential(PaddedBlock(channels_in, width, stride), PaddedBlock(width, width, 1), PaddedBlock(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer1(out)
        out = self.layer2(out)
        out = self.layer3(out)
        out = F.avg_pool2d(out, out.size()[3])
        out = out.view(out.size(0), -1)
        logits: Tensor = self.linear(out)
        return logits


class PreActBlock(nn.Module):
    """He et al. 2016, optionally with dropout between the convolutions (Zagoruyko and Komodakis 2016)."""

    def __init__(self, channels_in: int, width: int, stride: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = conv3x3(channels_in, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width)
        self.dropout = dropout
        self.equal = stride == 1 and channels_in == width
        self.shortcut = None if self.equal else nn.Conv2d(channels_in, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = F.relu(self.bn1(x))
        shortcut = self.shortcut(out) if self.shortcut is not None else x
        out = F.relu(self.bn2(self.conv1(out)))
        if self.dropout > 0:
            out = F.dropout(out, p=self.dropout, training=self.training)
        out = self.conv2(out)
        out += shortcut
        return out


def preact(width: int, dropout: float = 0.0) -> nn.Module:
    """A stem, three pre-activation blocks, and a head."""
    blocks = (
        PreActBlock(4, width, dropout=dropout),
        PreActBlock(width, 2 * width, 2, dropout),
        PreActBlock(2 * width, 2 * width, dropout=dropout),
    )
    head = (nn.BatchNorm2d(2 * width), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(conv3x3(3, 4), *blocks, *head, nn.Linear(2 * width, CLASSES))


class Bottleneck(nn.Module):
    """torchvision's bottleneck; with ``groups`` above 1 it is ResNeXt's (Xie et al. 2017)."""

    def __init__(self, channels_in: int, width: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride, groups)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels_in != 4 * width:
            projection = nn.Conv2d(channels_in, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out: Tensor = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        out = self.relu(out)
        return out


def bottlenecks(groups: int = 1) -> nn.Module:
    """Stem, three bottlenecks of 4 channels inside, head."""
    stem = (conv3x3(3, 8), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
    blocks = (Bottleneck(8, 4, 1, groups), Bottleneck(16, 4, 1, groups), Bottleneck(16, 4, 2, groups))
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(16, CLASSES))


class SEBlock(nn.Module):
    """Hu et al. 2018: the block's result is scaled per channel by a small network of its own means."""

    def __init__(self, channels_in: int, width: int, stride: int, reduction: int = 2) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            conv3x3(channels_in, width, stride),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            conv3x3(width, width),
            nn.BatchNorm2d(width),
        )
        self.squeeze = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Linear(width, width // reduction), nn.ReLU(inplace=True), nn.Linear(width // reduction, width), nn.Sigmoid()
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or channels_in != width:
            self.shortcut = nn.Sequential(nn.Conv2d(channels_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        out = self.residual(x)
        batch, channels, _, _ = out.size()
        weight = self.fc(self.squeeze(out).view(batch, channels)).view(batch, channels, 1, 1)
        out = out * weight.expand_as(out) + self.shortcut(x)
        return F.relu(out)


def se_resnet() -> nn.Module:
    """Stem, three squeeze-and-excitation blocks, head."""
    stem = (conv3x3(3, 4), nn.BatchNorm2d(4), nn.ReLU())
    blocks = (SEBlock(4, 4, 1), SEBlock(4, 8, 2), SEBlock(8, 8, 1))
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES))


RESIDUAL = (
    Case("resnet20", ResNet20, images(size=16), labels),
    Case("preact_resnet", lambda: preact(4), images(), labels),
    Case("wide_resnet_dropout", lambda: preact(8, dropout=0.3), images(), labels, random=True),
    Case("bottleneck_resnet", bottlenecks, images(), labels),
    Case("resnext", lambda: bottlenecks(groups=2), images(), labels),
    Case("se_resnet", se_resnet, images(), labels),
)
