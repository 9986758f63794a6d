"""The two networks of EKDAA ("A Robust Backpropagation-Free Framework for Images").

All convolutions are 3x3 and padded. Dropout is 0.1 on convolutions and 0.3 on the fully connected layer; where the paper has its
place is not known here, it is behind a layer's activation and pooling. Signum units are ``activation=sign``.
"""

from collections.abc import Iterable

from torch import nn

from runtime.models.plain import Convolution, Dense, plain_network

HIDDEN = (Dense(128, dropout=0.3),)


def _convolutions(plan: Iterable[tuple[int, bool]]) -> list[Convolution]:
    """From pairs of channels and whether pooling follows."""
    return [Convolution(channels, pool=pool, dropout=0.1) for channels, pool in plan]


def ekdaa_fashion(input_shape: tuple[int, ...], classes: int, activation: str = "tanh") -> nn.Sequential:
    """EKDAA's Fashion-MNIST network: convolutions of 32, 64 (each pooled) and 128 channels, then 128 units.

    On 28x28 images the fully connected layer reads 128 * 7 * 7 = 6272 numbers, as printed.

    Raises:
        ValueError: unknown activation, inputs that are not images, or images under 4x4.
    """
    plan = _convolutions([(32, True), (64, True), (128, False)])
    return plain_network(input_shape, classes, plan, HIDDEN, activation)


def ekdaa_cifar(input_shape: tuple[int, ...], classes: int, activation: str = "tanh") -> nn.Sequential:
    """EKDAA's CIFAR-10 and SVHN network: convolutions of 64, 64, 64, 128, 128, 128 channels pooled in pairs, then 128 units.

    On 32x32 images the fully connected layer reads 128 * 4 * 4 = 2048 numbers, as printed.

    Raises:
        ValueError: unknown activation, inputs that are not images, or images under 8x8.
    """
    plan = _convolutions([(64, False), (64, True), (64, False), (128, True), (128, False), (128, True)])
    return plain_network(input_shape, classes, plan, HIDDEN, activation)
