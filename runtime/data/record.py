"""What every data set becomes: two splits of images and labels that fit together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wiring.errors import ErrorwireError


class DataError(ErrorwireError):
    """A data set is not known, cannot be had, or its files are not what they should be."""


# Two splits have no useful equality: comparing their tensors gives a tensor.
@dataclass(frozen=True, eq=False)
class Split:
    """Images ``x`` as ``[N, C, H, W]`` float32 and labels ``y`` as ``[N]`` int64, for N >= 1.

    Raises:
        DataError: another shape or type, no images, or as many labels as there are not images.
    """

    x: Tensor
    y: Tensor

    def __post_init__(self) -> None:
        if self.x.ndim != 4 or self.x.dtype != torch.float32:
            raise DataError(f"Images must be [N, C, H, W] float32, not {list(self.x.shape)} {self.x.dtype}.")
        if self.y.ndim != 1 or self.y.dtype != torch.int64:
            raise DataError(f"Labels must be [N] int64, not {list(self.y.shape)} {self.y.dtype}.")
        if len(self.x) != len(self.y):
            raise DataError(f"There are {len(self.x)} images and {len(self.y)} labels. Give each image one label.")
        if not len(self.x):
            raise DataError("There are no images. A split has at least one.")

    def first(self, count: int) -> "Split":
        """A copy of the first ``count`` images, which lets the others go, or this split if it has no more."""
        if count >= len(self.x):
            return self
        return Split(self.x[:count].clone(), self.y[:count].clone())


@dataclass(frozen=True, eq=False)
class Data:
    """A data set whose labels are ``0 .. classes - 1``.

    Raises:
        DataError: a label out of this range, or train and test images of different shapes.
    """

    name: str
    train: Split
    test: Split
    classes: int

    def __post_init__(self) -> None:
        for part, split in (("training", self.train), ("test", self.test)):
            lowest, highest = int(split.y.min()), int(split.y.max())
            if lowest < 0 or highest >= self.classes:
                raise DataError(
                    f"The {part} labels of {self.name!r} run from {lowest} to {highest}, "
                    f"but its {self.classes} classes are 0 to {self.classes - 1}. "
                    f"Fetch its files again; they are damaged or belong to another data set."
                )
        train, test = tuple(self.train.x.shape[1:]), tuple(self.test.x.shape[1:])
        if train != test:
            raise DataError(
                f"The training images of {self.name!r} have shape {train} and the test images {test}. "
                f"Put the files of one data set into the folder."
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """``(C, H, W)`` of one image."""
        return tuple(self.train.x.shape[1:])

    def first(self, count: int) -> "Data":
        """The data set with at most the first ``count`` images of each split."""
        return Data(self.name, self.train.first(count), self.test.first(count), self.classes)


def split_of(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8 | np.int64], largest: float = 255) -> Split:
    """Images ``[N, C, H, W]`` scaled from ``[0, largest]`` to ``[0, 1]``, and their labels ``[N]``.

    Raises:
        DataError: their numbers differ.
    """
    # div_ in place: in float32 the larger sets take hundreds of megabytes. Laid out anew, since a channel of size 1 that
    # images[:, None] has put in has a stride of 1, which torch's convolutions take for channels_last.
    x = torch.from_numpy(images.astype(np.float32, order="C")).div_(largest)
    return Split(x, torch.from_numpy(labels.astype(np.int64)))


def find_folder(name: str, folder: Path, marks: Sequence[str], inner: Sequence[str]) -> Path:
    """``folder``, or the first of its ``inner`` ones, in which one of the files ``marks`` lies.

    Raises:
        DataError: none does, naming the files and the folders looked into.
    """
    candidates = [folder, *(folder / part for part in inner)]
    for candidate in candidates:
        if any((candidate / mark).is_file() for mark in marks):
            return candidate
    raise DataError(
        f"Data {name!r} needs {' or '.join(marks)}, which is in none of {', '.join(map(str, candidates))}. "
        f"Pass the folder that holds the original files."
    )


def read_bytes(path: Path) -> bytes:
    """All of a file.

    Raises:
        DataError: it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as problem:
        raise DataError(
            f"File {path} cannot be read ({problem.strerror}). Put the complete original files into its folder."
        ) from problem
