"""The Python version of CIFAR-10: pickled files, read by an unpickler that admits numpy arrays and nothing else."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.data.record import DataError, read_bytes

# An unpickler calls what a file names, so these are all that a file may name. numpy 2 has moved the first one.
ADMITTED = frozenset(
    {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
    }
)


class ArrayUnpickler(pickle.Unpickler):
    """Rebuilds containers, numbers, texts and numpy arrays; refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not part of a numpy array")
        return super().find_class(module, name)


def read_pickled(path: Path, count: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The ``count`` images of a file such as ``data_batch_1``, a dictionary with ``data`` and ``labels``.

    Returns:
        Images ``[count, 3072]`` and labels ``[count]``.

    Raises:
        DataError: no pickle of this dictionary, another number of images or labels, or a pickle that names
            something else than numpy arrays, which is refused before it is called.
    """
    content = read_bytes(path)
    try:
        # The originals are of Python 2, whose texts become bytes.
        batch = ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as problem:  # damaged pickles raise nearly anything
        raise DataError(f"File {path} is no CIFAR-10 batch: {problem}. Fetch it again, or the binary version.") from problem
    images, labels = _fields(path, batch)
    if images.shape != (count, 3072) or images.dtype != np.uint8 or len(labels) != count:
        raise DataError(
            f"File {path} holds images {list(images.shape)} {images.dtype} and {len(labels)} labels, "
            f"but a CIFAR-10 batch has [{count}, 3072] uint8 and {count}. Fetch the file again."
        )
    return images, np.array(labels, np.int64)


def _fields(path: Path, batch: object) -> tuple[npt.NDArray[Any], list[int]]:
    if isinstance(batch, dict):
        images, labels = batch.get(b"data", batch.get("data")), batch.get(b"labels", batch.get("labels"))
        if isinstance(images, np.ndarray) and isinstance(labels, list) and all(type(label) is int for label in labels):
            return images, labels
    raise DataError(
        f"File {path} is no CIFAR-10 batch: it is no dictionary of an array 'data' and a list of numbers 'labels'. "
        f"Fetch it again, or the binary version."
    )
