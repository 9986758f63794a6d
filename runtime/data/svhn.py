"""Street View House Numbers, cropped digits (http://ufldl.stanford.edu/housenumbers/), from the original Matlab files."""

from pathlib import Path

import numpy as np
from scipy.io import loadmat

from runtime.data.record import Data, DataError, Split, find_folder, split_of

FILES = ("train_32x32.mat", "test_32x32.mat")


def load_svhn(name: str, folder: Path) -> Data:
    """The files ``train_32x32.mat`` and ``test_32x32.mat``; the extra images are left alone.

    Args:
        folder: where they lie; ``svhn`` in it is tried too.

    Returns:
        Images ``[N, 3, 32, 32]`` in [0, 1]; the class of a digit is the digit.

    Raises:
        DataError: a file is missing, damaged, or holds something else.
    """
    found = find_folder(name, folder, FILES[:1], (name,))
    train, test = (_split(found / file) for file in FILES)
    return Data(name, train, test, classes=10)


def _split(path: Path) -> Split:
    """``X`` is ``[32, 32, 3, N]`` and ``y`` ``[N, 1]`` from 1 to 10, where 10 is the digit 0."""
    try:
        found = loadmat(path, variable_names=("X", "y"))
        images, labels = found["X"], found["y"].reshape(-1)
    except OSError as problem:
        raise DataError(f"File {path} cannot be read ({problem}). Put the complete original files into its folder.") from problem
    except Exception as problem:  # scipy raises of every kind on bytes that are no Matlab file
        raise DataError(f"File {path} is damaged or no file of SVHN ({problem}). Fetch the file again.") from problem
    if (
        images.ndim != 4
        or images.shape[:3] != (32, 32, 3)
        or images.dtype != np.uint8
        or not ((labels >= 1) & (labels <= 10)).all()
    ):
        raise DataError(
            f"File {path} holds images {list(images.shape)} of {images.dtype}, but SVHN has [32, 32, 3, N] of bytes with labels from 1 to 10. "
            "Fetch the file again."
        )
    return split_of(images.transpose(3, 2, 0, 1), labels.astype(np.int64) % 10)
