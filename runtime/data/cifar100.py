"""CIFAR-100 from the binary files of Krizhevsky (https://www.cs.toronto.edu/~kriz/cifar.html)."""

from pathlib import Path

from runtime.data.cifar import normalised, read_binary
from runtime.data.record import Data, Split, find_folder, split_of

FILES = {"train.bin": 50_000, "test.bin": 10_000}
# Of the 50000 training images, per channel, after scaling to [0, 1]: mean and deviation.
SCALE = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))


def load_cifar100(name: str, folder: Path) -> Data:
    """The files ``train.bin`` and ``test.bin`` of the binary version, with its 100 fine labels.

    Args:
        folder: where they lie; ``cifar-100-binary`` and ``cifar100`` in it are tried too.

    Returns:
        Images ``[N, 3, 32, 32]`` with mean 0 and deviation 1 in each channel of the training images.

    Raises:
        DataError: a file is missing or has another length.
    """
    found = find_folder(name, folder, ("train.bin",), ("cifar-100-binary", name))
    train, test = (_split(found / file, count) for file, count in FILES.items())
    return Data(name, train, test, classes=100)


def _split(path: Path, count: int) -> Split:
    images, labels = read_binary(path, count, labels=2)  # the coarse one first
    return normalised(split_of(images.reshape(-1, 3, 32, 32), labels), SCALE)
