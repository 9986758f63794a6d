"""CIFAR-100 from the binary files of Krizhevsky (https://www.cs.toronto.edu/~kriz/cifar.html)."""

from pathlib import Path

import numpy as np
import torch

from runtime.data.record import Data, DataError, Split, find_folder, read_bytes, split_of

PIXELS = 3 * 32 * 32
FILES = {"train.bin": 50_000, "test.bin": 10_000}
# Of the 50000 training images, per channel, after scaling to [0, 1].
MEAN = (0.5071, 0.4865, 0.4409)
DEVIATION = (0.2673, 0.2564, 0.2762)


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
    """The ``count`` records of a file: a byte of coarse label, one of fine label, and 3072 of red, green and blue pixels."""
    content = read_bytes(path)
    if len(content) != count * (2 + PIXELS):
        state = "cut short" if len(content) < count * (2 + PIXELS) else "too long"
        raise DataError(
            f"File {path} is {state}: {len(content)} bytes, but {count} images of CIFAR-100 with their labels make "
            f"{count * (2 + PIXELS)}. Fetch the file again."
        )
    records = np.frombuffer(content, np.uint8).reshape(count, 2 + PIXELS)
    split = split_of(records[:, 2:].reshape(-1, 3, 32, 32), records[:, 1].astype(np.int64))
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
    split.x.sub_(mean).div_(deviation)
    return split
