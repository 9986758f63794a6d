"""Residual networks of He et al., "Deep Residual Learning for Image Recognition" (2015): CIFAR- and ImageNet-type."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from runtime.models.blocks import BasicBlock, Block, Bottleneck, stage
from runtime.models.parts import conv3x3, he_init, image_shape

# Beyond this many pixels a side the images get the ImageNet stem, which divides height and width by four.
LARGEST_SMALL_IMAGE = 64

IMAGENET_TYPES: dict[int, tuple[Block, tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
}


class CifarResNet(nn.Module):
    """The 6n+2 layers of section 4.2: three stages of ``n`` basic blocks with ``width``, twice and four times as many.

    ``[N, C, H, W]`` to ``[N, classes]``. The shortcuts that change the shape are projections (option B).
    """

    def __init__(self, channels: int, classes: int, blocks: int, width: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = stage(BasicBlock, width, width, blocks, stride=1)
        self.layer2 = stage(BasicBlock, width, 2 * width, blocks, stride=2)
        self.layer3 = stage(BasicBlock, 2 * width, 4 * width, blocks, stride=2)
        self.fc = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        out = F.adaptive_avg_pool2d(out, 1)
        logits: Tensor = self.fc(out.view(out.size(0), -1))
        return logits


class ImageNetResNet(nn.Module):
    """Table 1's networks, ``[N, C, H, W]`` to ``[N, classes]``: a stem and four stages of 1, 2, 4, 8 times ``width``."""

    def __init__(
        self,
        channels: int,
        classes: int,
        block: Block,
        counts: tuple[int, int, int, int],
        width: int,
        small: bool,
    ) -> None:
        """``small`` leaves height and width to the stages: a 3x3 stem without max-pooling in place of 7x7/2 with it."""
        super().__init__()
        self.conv1 = conv3x3(channels, width) if small else nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
        wide = block.expansion
        self.layer1 = stage(block, width, width, counts[0], stride=1)
        self.layer2 = stage(block, width * wide, 2 * width, counts[1], stride=2)
        self.layer3 = stage(block, 2 * width * wide, 4 * width, counts[2], stride=2)
        self.layer4 = stage(block, 4 * width * wide, 8 * width, counts[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(8 * width * wide, classes)

    def forward(self, x: Tensor) -> Tensor:
        out = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        out = self.layer1(out)
        out = self.layer2(out)
        out = self.layer3(out)
        out = self.layer4(out)
        logits: Tensor = self.fc(torch.flatten(self.avgpool(out), 1))
        return logits


def cifar_resnet(depth: int) -> Callable[..., nn.Module]:
    """The factory of the CIFAR-type network with ``depth = 6n + 2`` layers.

    Raises:
        ValueError: ``depth`` is not of that form.
    """
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ValueError(f"a CIFAR ResNet has 6n + 2 layers (8, 14, 20, ...), not {depth}")

    def build(input_shape: tuple[int, ...], classes: int, width: int = 16) -> nn.Module:
        """The network with ``width``, ``2 * width`` and ``4 * width`` channels."""
        channels, _, _ = image_shape(input_shape)
        model = CifarResNet(channels, classes, blocks, width)
        he_init(model)
        return model

    return build


def imagenet_resnet(depth: int) -> Callable[..., nn.Module]:
    """The factory of the ImageNet-type network with ``depth`` layers, one of ``IMAGENET_TYPES``."""
    block, counts = IMAGENET_TYPES[depth]

    def build(input_shape: tuple[int, ...], classes: int, width: int = 64) -> nn.Module:
        """The network with ``width`` channels in the stem; which stem it has follows from the image's longer side."""
        channels, height, breadth = image_shape(input_shape)
        small = max(height, breadth) <= LARGEST_SMALL_IMAGE
        model = ImageNetResNet(channels, classes, block, counts, width, small)
        he_init(model)
        return model

    return build
