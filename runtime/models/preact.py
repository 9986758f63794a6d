"""The pre-activation residual network of He et al., "Identity Mappings in Deep Residual Networks" (2016), figure 4e."""

import torch.nn.functional as F
from torch import Tensor, nn

from runtime.models.parts import conv1x1, conv3x3, he_init, image_shape


class PreActBlock(nn.Module):
    """``[N, channels_in, H, W]`` to ``[N, width, H / stride, W / stride]``, batch norm and ReLU before convolutions.

    A shortcut that changes the shape is a bare 1x1 convolution of the activated input; otherwise it is ``x`` itself.
    """

    def __init__(self, channels_in: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = conv3x3(channels_in, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width)
        self.shortcut = None
        if stride != 1 or channels_in != width:
            self.shortcut = conv1x1(channels_in, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = F.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(out)
        out = self.conv1(out)
        out = F.relu(self.bn2(out))
        out = self.conv2(out)
        out += shortcut
        return out


class PreActResNet(nn.Module):
    """Four stages of two pre-activation blocks behind a bare 3x3 stem; ``[N, C, H, W]`` to ``[N, classes]``."""

    def __init__(self, channels: int, classes: int, width: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels, width)
        self.layer1 = self._stage(width, width, stride=1)
        self.layer2 = self._stage(width, 2 * width, stride=2)
        self.layer3 = self._stage(2 * width, 4 * width, stride=2)
        self.layer4 = self._stage(4 * width, 8 * width, stride=2)
        self.bn = nn.BatchNorm2d(8 * width)
        self.fc = nn.Linear(8 * width, classes)

    @staticmethod
    def _stage(channels_in: int, width: int, stride: int) -> nn.Sequential:
        return nn.Sequential(PreActBlock(channels_in, width, stride), PreActBlock(width, width))

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer2(self.layer1(self.conv1(x)))
        out = self.layer4(self.layer3(out))
        out = F.relu(self.bn(out))
        out = F.adaptive_avg_pool2d(out, 1)
        logits: Tensor = self.fc(out.view(out.size(0), -1))
        return logits


def preact_resnet18(input_shape: tuple[int, ...], classes: int, width: int = 64) -> nn.Module:
    """The 18-layer network for small images, with ``width`` channels in the stem.

    Raises:
        ValueError: inputs that are not images.
    """
    channels, _, _ = image_shape(input_shape)
    model = PreActResNet(channels, classes, width)
    he_init(model)
    return model
