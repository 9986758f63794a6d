"""MNIST and Fashion-MNIST from their original IDX files (format: https://yann.lecun.org/exdb/mnist, last section)."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.data.record import Data, DataError, Split, find_folder, read_bytes, split_of

IMAGES = "train-images-idx3-ubyte"
# The magic number of unsigned bytes is 0x0800 plus the rank.
UNSIGNED_BYTES = 0x0800
AGAIN = "Fetch the file again."


def load_idx(name: str, folder: Path, classes: int = 10) -> Data:
    """The four files ``train-`` and ``t10k-``, ``images-idx3-ubyte`` and ``labels-idx1-ubyte``, gzipped or not.

    Args:
        folder: where they lie; ``folder/name`` and torchvision's ``MNIST/raw`` or ``FashionMNIST/raw`` are tried too.

    Returns:
        Images ``[N, 1, H, W]`` in [0, 1].

    Raises:
        DataError: a file is missing, damaged, cut short or too long, or images and labels differ in number.
    """
    torchvision = {"mnist": "MNIST/raw", "fashion-mnist": "FashionMNIST/raw"}.get(name, name)
    found = find_folder(name, folder, (IMAGES, f"{IMAGES}.gz"), (name, torchvision))
    return Data(name, _split(found, "train"), _split(found, "t10k"), classes)


def _split(folder: Path, part: str) -> Split:
    images = read_idx(folder / f"{part}-images-idx3-ubyte", rank=3)
    labels = read_idx(folder / f"{part}-labels-idx1-ubyte", rank=1)
    try:
        return split_of(images[:, None], labels)
    except DataError as problem:
        raise DataError(f"The {part} images and labels in {folder} do not fit together: {problem}") from problem


def read_idx(path: Path, rank: int) -> npt.NDArray[np.uint8]:
    """The array of unsigned bytes in the IDX file ``path``, or in ``path.gz`` if only this exists.

    Layout: the magic number ``0x0800 + rank``, ``rank`` sizes (all big-endian 32-bit), then one byte an entry.

    Raises:
        DataError: no such file, bad gzip data, another magic number, or another length than the sizes say.
    """
    if not path.is_file():
        path = path.with_name(f"{path.name}.gz")
    content = _unzipped(path, read_bytes(path)) if path.suffix == ".gz" else read_bytes(path)
    header = 4 * (1 + rank)
    if len(content) < header:
        raise DataError(f"File {path} is cut short: {len(content)} bytes, and the header alone has {header}. {AGAIN}")
    magic, *sizes = struct.unpack(f">{1 + rank}I", content[:header])
    if magic != UNSIGNED_BYTES + rank:
        raise DataError(
            f"File {path} begins with the number {magic:#010x}, but an IDX file of {rank} dimensions "
            f"with unsigned bytes begins with {UNSIGNED_BYTES + rank:#010x}. {AGAIN}"
        )
    if len(content) != header + math.prod(sizes):
        state = "cut short" if len(content) < header + math.prod(sizes) else "too long"
        shape = "x".join(map(str, sizes))
        raise DataError(
            f"File {path} is {state}: {len(content)} bytes, but a header of {header} and {shape} entries "
            f"make {header + math.prod(sizes)}. {AGAIN}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(sizes)


def _unzipped(path: Path, packed: bytes) -> bytes:
    try:
        return gzip.decompress(packed)
    except (EOFError, gzip.BadGzipFile, zlib.error) as problem:
        raise DataError(f"File {path} is cut short or no gzip file ({problem}). {AGAIN}") from problem
