"""The two networks of DKP ("Learning the Connections in Direct Feedback Alignment"), batch norm before every activation."""

from torch import nn

from runtime.models.plain import Convolution, Dense, plain_network


def dkp_cnn(input_shape: tuple[int, ...], classes: int, padding: bool = True) -> nn.Sequential:
    """DKP's 2-conv network: two 3x3 convolutions of 32 channels, pooling, 128 units; batch norm and ReLU behind each.

    The paper prints padding 1 and 6272 inputs of the fully connected layer, which is so on 28x28 images. Its released code does
    not pad, which gives 6272 on 32x32: use ``padding=false`` there.

    Raises:
        ValueError: inputs that are not images, or images that are too small.
    """
    pixels = int(padding)
    plan = [Convolution(32, padding=pixels), Convolution(32, padding=pixels, pool=True)]
    return plain_network(input_shape, classes, plan, [Dense(128)], "relu", norm=True)


def dkp_alexnet(input_shape: tuple[int, ...], classes: int, dropout: float = 0.5) -> nn.Sequential:
    """AlexNet for 32x32 images with batch norm before every ReLU: five 3x3 convolutions, then twice 4096 units.

    The paper gives only the name, and the released code takes torchvision's AlexNet for 224x224 images, with batch norm behind
    its convolutions only. Here are the usual sizes for CIFAR: convolutions of 64 (stride 2, pooled), 192 (pooled), 384, 256 and
    256 (pooled) channels, padded by 1, so that 256 * 2 * 2 = 1024 numbers go into the fully connected layers. ``dropout`` is on
    what the two hidden ones read, as in that code.

    Raises:
        ValueError: ``dropout`` is not in [0, 1), inputs that are not images, or images under 15x15.
    """
    plan = [
        Convolution(64, stride=2, pool=True),
        Convolution(192, pool=True),
        Convolution(384),
        Convolution(256),
        Convolution(256, pool=True, dropout=dropout),
    ]
    return plain_network(input_shape, classes, plan, [Dense(4096, dropout=dropout), Dense(4096)], "relu", norm=True)
