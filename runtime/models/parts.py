"""What several built-in models share: convolutions, dropout, He initialisation, the image check."""

from torch import nn


def image_shape(input_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """``input_shape`` as ``(C, H, W)``.

    Raises:
        ValueError: the inputs are not images.
    """
    if len(input_shape) != 3:
        raise ValueError(f"it reads images of shape (C, H, W), but the inputs have shape {input_shape}; use 'mlp' for these")
    channels, height, width = input_shape
    return channels, height, width


def conv3x3(channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv2d:
    """``[N, channels_in, H, W]`` to ``[N, channels_out, ceil(H / stride), ceil(W / stride)]``, without bias."""
    return nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)


def conv1x1(channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv2d:
    """``[N, channels_in, H, W]`` to ``[N, channels_out, ceil(H / stride), ceil(W / stride)]``, without bias."""
    return nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False)


def dropout(probability: float) -> nn.Module:
    """Dropout that sets an entry to zero with ``probability``; at 0 an identity.

    Raises:
        ValueError: ``probability`` is not in [0, 1).
    """
    if not 0 <= probability < 1:
        raise ValueError(f"dropout is a probability in [0, 1), not {probability}")
    return nn.Dropout(probability) if probability else nn.Identity()


def he_init(model: nn.Module) -> None:
    """Draw every convolution as in He et al., "Delving Deep into Rectifiers" (2015): normal, by fan-out."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
