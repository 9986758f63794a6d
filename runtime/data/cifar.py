"""CIFAR-10 from the files of Krizhevsky (https://www.cs.toronto.edu/~kriz/cifar.html), binary or Python version."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from runtime.data.cifar_pickle import read_pickled
from runtime.data.record import Data, DataError, Split, find_folder, read_bytes, split_of

Bytes = npt.NDArray[np.uint8]
Scale = tuple[tuple[float, float, float], tuple[float, float, float]]
Reader = Callable[[Path, int], tuple[Bytes, npt.NDArray[np.int64]]]

# Images in each of the original files.
PER_FILE = 10_000
PIXELS = 3 * 32 * 32
TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = ("test_batch",)
# Of the 50000 training images, per channel, after scaling to [0, 1]: mean and deviation.
SCALE = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))


def load_cifar10(name: str, folder: Path) -> Data:
    """The six files ``data_batch_1 .. 5`` and ``test_batch``, with the ending ``.bin`` or, pickled, without.

    Args:
        folder: where they lie; ``cifar-10-batches-bin``, ``cifar-10-batches-py`` and ``cifar10`` in it are tried too.

    Returns:
        Images ``[N, 3, 32, 32]`` with mean 0 and deviation 1 in each channel of the training images.

    Raises:
        DataError: a file is missing, damaged, or does not hold 10000 images.
    """
    inner = ("cifar-10-batches-bin", "cifar-10-batches-py", name)
    found = find_folder(name, folder, (f"{TRAIN[0]}.bin", TRAIN[0]), inner)
    binary = (found / f"{TRAIN[0]}.bin").is_file()
    ending, reader = (".bin", read_binary) if binary else ("", read_pickled)
    train = _split([found / f"{stem}{ending}" for stem in TRAIN], reader)
    test = _split([found / f"{stem}{ending}" for stem in TEST], reader)
    return Data(name, normalised(train, SCALE), normalised(test, SCALE), classes=10)


def _split(paths: list[Path], reader: Reader) -> Split:
    parts = [reader(path, PER_FILE) for path in paths]
    images = np.concatenate([images for images, _ in parts]).reshape(-1, 3, 32, 32)
    return split_of(images, np.concatenate([labels for _, labels in parts]))


def normalised(split: Split, scale: Scale) -> Split:
    """Images ``[N, 3, H, W]`` in [0, 1] less the channel's mean, over its deviation; changed in place."""
    mean, deviation = (torch.tensor(values)[:, None, None] for values in scale)
    split.x.sub_(mean).div_(deviation)
    return split


def read_binary(path: Path, count: int, labels: int = 1) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """The ``count`` records of a ``.bin`` file, each ``labels`` bytes, of which the last one counts, and 3072 of red, green and blue pixels.

    Returns:
        Images ``[count, 3072]`` and labels ``[count]``.

    Raises:
        DataError: the file has another length.
    """
    content, wanted = read_bytes(path), count * (labels + PIXELS)
    if len(content) != wanted:
        raise DataError(
            f"File {path} is {'cut short' if len(content) < wanted else 'too long'}: {len(content)} bytes, but {count} images with "
            f"their labels make {wanted}. Fetch the file again."
        )
    records = np.frombuffer(content, np.uint8).reshape(count, labels + PIXELS)
    return records[:, labels:], records[:, labels - 1].astype(np.int64)
