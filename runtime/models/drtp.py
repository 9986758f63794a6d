"""The networks of DRTP (Frenkel, Lefebvre, Bol 2021). Their outputs are linear: the sigmoid or softmax lies in the loss.

The paper's dropout is 0, 0.1 or 0.25, on what fully connected layers read, the output and the first one included (released
code). Its frozen random convolutions are the wiring's to say: ``frozen=("conv1.*",)``.
"""

from torch import nn

from runtime.models.mlp import mlp
from runtime.models.plain import Convolution, Dense, plain_network


def drtp_mlp(input_shape: tuple[int, ...], classes: int, width: int = 500, depth: int = 1, dropout: float = 0.0) -> nn.Sequential:
    """DRTP's FC1 and FC2 networks: ``depth`` 1 or 2 tanh layers of 500 or 1000 units; an ``mlp`` with other defaults.

    Raises:
        ValueError: ``dropout`` is not in [0, 1).
    """
    return mlp(input_shape, classes, width, depth, "tanh", dropout)


def drtp_conv(input_shape: tuple[int, ...], classes: int, width: int = 1000, dropout: float = 0.0) -> nn.Sequential:
    """DRTP's CONV network: 32 kernels of 5x5 padded by 2, tanh, pooling, then ``width`` tanh units.

    Raises:
        ValueError: ``dropout`` is not in [0, 1), inputs that are not images, or images under 2x2.
    """
    plan = [Convolution(32, kernel=5, padding=2, pool=True, dropout=dropout)]
    return plain_network(input_shape, classes, plan, [Dense(width, dropout=dropout)], "tanh")
