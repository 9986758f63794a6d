"""The network of Zagoruyko and Komodakis, "Wide Residual Networks" (2016), with dropout as in section 2.4."""

from torch import Tensor, nn

from runtime.models.parts import conv1x1, conv3x3, he_init, image_shape
from runtime.models.parts import dropout as dropout_of

# Channels of the stem; a stage has this, twice or four times as many, times ``widen``.
STEM = 16


class WideBlock(nn.Module):
    """Pre-activation block with dropout inside: ``[N, channels_in, H, W]`` to ``[N, width, H / stride, W / stride]``.

    At ``dropout`` 0 an identity stands in the place of the dropout module.
    """

    def __init__(self, channels_in: int, width: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = conv3x3(channels_in, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU(inplace=True)
        self.dropout = dropout_of(dropout)
        self.conv2 = conv3x3(width, width)
        same = stride == 1 and channels_in == width
        self.shortcut = None if same else conv1x1(channels_in, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu1(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(out)
        out = self.relu2(self.bn2(self.conv1(out)))
        out = self.conv2(self.dropout(out))
        out = out + shortcut
        return out


class WideResNet(nn.Module):
    """Three stages of ``blocks`` wide blocks; ``[N, C, H, W]`` to ``[N, classes]``."""

    def __init__(self, channels: int, classes: int, blocks: int, widen: int, dropout: float) -> None:
        super().__init__()
        width = STEM * widen
        self.conv1 = conv3x3(channels, STEM)
        self.layer1 = self._stage(STEM, width, blocks, 1, dropout)
        self.layer2 = self._stage(width, 2 * width, blocks, 2, dropout)
        self.layer3 = self._stage(2 * width, 4 * width, blocks, 2, dropout)
        self.bn = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(4 * width, classes)

    @staticmethod
    def _stage(channels_in: int, width: int, count: int, stride: int, dropout: float) -> nn.Sequential:
        first = WideBlock(channels_in, width, stride, dropout)
        return nn.Sequential(first, *(WideBlock(width, width, 1, dropout) for _ in range(count - 1)))

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        out = self.relu(self.bn(out))
        out = out.mean(dim=(2, 3))
        logits: Tensor = self.fc(out)
        return logits


def wide_resnet(input_shape: tuple[int, ...], classes: int, depth: int = 16, widen: int = 2, dropout: float = 0.0) -> nn.Module:
    """WRN-``depth``-``widen``; ``dropout`` is the probability that an entry is set to zero.

    Raises:
        ValueError: ``depth`` is not of the form 6n + 4, ``dropout`` is not in [0, 1), or inputs that are not images.
    """
    blocks, rest = divmod(depth - 4, 6)
    if rest or blocks < 1:
        raise ValueError(f"a wide ResNet has 6n + 4 layers (10, 16, 22, ...), not {depth}")
    channels, _, _ = image_shape(input_shape)
    model = WideResNet(channels, classes, blocks, widen, dropout)
    he_init(model)
    return model
