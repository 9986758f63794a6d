"""Networks of depthwise convolutions."""

import torch
from torch import Tensor, nn

from .case import CLASSES, Case, images, labels


class InvertedResidual(nn.Module):
    """Sandler et al. 2018 (MobileNet-v2): widen by 1x1, filter each channel, narrow by 1x1 without activation."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = channels_in * expand
        self.use_res_connect = stride == 1 and channels_in == channels_out
        self.conv = nn.Sequential(
            nn.Conv2d(channels_in, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, channels_out, 1, bias=False),
            nn.BatchNorm2d(channels_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        if self.use_res_connect:
            return x + out
        return out


def mobilenet_v2() -> nn.Module:
    """Stem, three inverted residuals of which two have the shortcut, head."""
    stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU6(inplace=True))
    blocks = (InvertedResidual(4, 4, 1, 2), InvertedResidual(4, 6, 2, 2), InvertedResidual(6, 6, 1, 2))
    head = (nn.Conv2d(6, 12, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU6(inplace=True))
    return nn.Sequential(stem, *blocks, *head, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, CLASSES))


class ChannelsFirstNorm(nn.Module):
    """ConvNeXt's own layer norm over the channels of ``[N, C, H, W]``, written out."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        spread = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(spread + self.eps)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class ConvNeXtBlock(nn.Module):
    """Liu et al. 2022: depthwise 7x7, layer norm and two linear layers with the channels last, layer scale."""

    def __init__(self, channels: int, scale: float = 0.5) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, kernel_size=7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(scale * torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = self.dwconv(x)
        x = x.permute(0, 2, 3, 1)
        x = self.pwconv2(self.act(self.pwconv1(self.norm(x))))
        x = self.gamma * x
        x = x.permute(0, 3, 1, 2)
        return shortcut + x


class ConvNeXt(nn.Module):
    """Patch stem, a block, downsampling, a block, layer norm and head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, kernel_size=2, stride=2), ChannelsFirstNorm(4))
        self.stage1 = ConvNeXtBlock(4)
        self.downsample = nn.Sequential(ChannelsFirstNorm(4), nn.Conv2d(4, 8, kernel_size=2, stride=2))
        self.stage2 = ConvNeXtBlock(8)
        self.norm = nn.LayerNorm(8, eps=1e-6)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage1(self.stem(x))
        x = self.stage2(self.downsample(x))
        logits: Tensor = self.head(self.norm(x.mean([-2, -1])))
        return logits


MOBILE = (
    Case("mobilenet_v2", mobilenet_v2, images(), labels),
    Case("convnext", ConvNeXt, images(size=16), labels),
)
