"""Plain, branching and concatenating convolutional networks."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .case import CLASSES, Case, images, labels


class LeNet(nn.Module):
    """Convolutions with bias, max-pooling, two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 8, 3, padding=1)
        self.fc1 = nn.Linear(8 * 2 * 2, 16)
        self.fc2 = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), (2, 2))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        logits: Tensor = self.fc2(x)
        return logits


class VGG(nn.Module):
    """Simonyan and Zisserman 2014 with batch norm: a list of widths and ``"M"`` becomes ``features``."""

    def __init__(self, plan: tuple[int | str, ...] = (4, "M", 8, 8, "M")) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for entry in plan:
            if isinstance(entry, str):
                layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
                continue
            layers += [nn.Conv2d(channels, entry, 3, padding=1), nn.BatchNorm2d(entry), nn.ReLU(inplace=True)]
            channels = entry
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((2, 2))
        self.classifier = nn.Sequential(nn.Linear(channels * 4, 16), nn.ReLU(True), nn.Linear(16, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = self.avgpool(x)
        x = x.reshape(x.shape[0], -1)
        logits: Tensor = self.classifier(x)
        return logits


class DenseLayer(nn.Module):
    """Huang et al. 2017: norm, ReLU, convolution, and the input concatenated to the result."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv(F.relu(self.norm(x)))
        return torch.cat([x, out], 1)


class DenseNet(nn.Module):
    """Two dense blocks with a transition between them."""

    def __init__(self, growth: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.block1 = nn.Sequential(*(DenseLayer(6 + growth * k, growth) for k in range(3)))
        self.transition = nn.Sequential(nn.BatchNorm2d(18), nn.ReLU(), nn.Conv2d(18, 8, 1), nn.AvgPool2d(2))
        self.block2 = nn.Sequential(*(DenseLayer(8 + growth * k, growth) for k in range(2)))
        self.norm = nn.BatchNorm2d(16)
        self.classifier = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.transition(self.block1(self.stem(x)))
        x = F.relu(self.norm(self.block2(x)), inplace=True)
        x = F.adaptive_avg_pool2d(x, (1, 1)).flatten(1)
        logits: Tensor = self.classifier(x)
        return logits


def conv_norm_relu(channels_in: int, channels_out: int, kernel: int) -> nn.Sequential:
    """The unit of an Inception branch, which keeps height and width."""
    convolution = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out, eps=0.001), nn.ReLU(inplace=True))


class Inception(nn.Module):
    """Szegedy et al. 2015: branches of 1x1, 3x3, 5x5 and pooling side by side, ``channels`` to 14."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch1 = conv_norm_relu(channels, 4, 1)
        self.branch2 = nn.Sequential(conv_norm_relu(channels, 3, 1), conv_norm_relu(3, 4, 3))
        self.branch3 = nn.Sequential(conv_norm_relu(channels, 2, 1), conv_norm_relu(2, 3, 5))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), conv_norm_relu(channels, 3, 1))

    def forward(self, x: Tensor) -> Tensor:
        outputs = [self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)]
        return torch.cat(outputs, dim=1)


class GoogLeNet(nn.Module):
    """Two Inception modules."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_norm_relu(3, 6, 3)
        self.inception3a = Inception(6)
        self.inception3b = Inception(14)
        self.fc = nn.Linear(14, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.inception3a(self.stem(x)), 3, stride=2, ceil_mode=True)
        x = self.inception3b(x).mean([2, 3])
        logits: Tensor = self.fc(x)
        return logits


class GroupNormNet(nn.Module):
    """Wu and He 2018: group norm in place of batch norm, down to one group per channel and one for all."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.gn1 = nn.GroupNorm(4, 8)
        self.conv2 = nn.Conv2d(8, 8, 3, stride=2, padding=1, bias=False)
        self.gn2 = nn.GroupNorm(8, 8)
        self.gn3 = nn.GroupNorm(1, 8)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.gn1(self.conv1(x)))
        x = F.leaky_relu(self.gn2(self.conv2(x)), 0.2)
        x = self.gn3(x).mean(dim=-1).mean(dim=-1)
        logits: Tensor = self.fc(x)
        return logits


CONVOLUTIONAL = (
    Case("lenet", LeNet, images(), labels),
    Case("vgg_bn", VGG, images(), labels),
    Case("densenet", DenseNet, images(), labels),
    Case("inception", GoogLeNet, images(), labels),
    Case("group_norm", GroupNormNet, images(), labels),
)
