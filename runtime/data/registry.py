"""Data sets by name."""

import difflib
from collections.abc import Callable
from pathlib import Path

from runtime.data.cifar import load_cifar10
from runtime.data.cifar100 import load_cifar100
from runtime.data.digits import load_digits
from runtime.data.idx import load_idx
from runtime.data.openml import load_openml
from runtime.data.record import Data, DataError
from runtime.data.svhn import load_svhn

Loader = Callable[[str, Path | None, int], Data]
"""Called as ``loader(name, folder, seed)``."""


def files_or_openml(from_folder: Callable[[str, Path], Data]) -> Loader:
    """A loader that reads the original files if a folder is given, and asks OpenML otherwise."""

    def load(name: str, folder: Path | None, seed: int) -> Data:
        return load_openml(name) if folder is None else from_folder(name, folder)

    return load


def files_only(from_folder: Callable[[str, Path], Data]) -> Loader:
    """A loader that reads the original files and has nowhere else to look."""

    def load(name: str, folder: Path | None, seed: int) -> Data:
        if folder is None:
            raise DataError(f"Data {name!r} is read from its original files alone. Pass the folder that holds them.")
        return from_folder(name, folder)

    load.__doc__ = from_folder.__doc__
    return load


DATA_SETS: dict[str, Loader] = {
    "digits": load_digits,
    "mnist": files_or_openml(load_idx),
    "fashion-mnist": files_or_openml(load_idx),
    "cifar10": files_or_openml(load_cifar10),
    "cifar100": files_only(load_cifar100),
    "svhn": files_only(load_svhn),
}


def load_data(text: str, folder: Path | None = None, seed: int = 0, limit: int | None = None) -> Data:
    """The data set named ``text``, read whole and checked whole before ``limit`` applies.

    Args:
        text: one of ``DATA_SETS``.
        folder: where the original files lie; without it OpenML is asked. ``digits`` needs neither.
        seed: draws the split of ``digits``; the others come in the split and order of their authors.
        limit: keep at most this many images of each split, the first ones.

    Returns:
        Pixels in [0, 1], those of ``cifar10`` and ``cifar100`` normalised per channel.

    Raises:
        DataError: an unknown name, files that are missing or damaged, no network, or a limit below 1.
    """
    if text not in DATA_SETS:
        close = difflib.get_close_matches(text, DATA_SETS)
        hint = f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
        raise DataError(f"Data {text!r} is not known. {hint}The data sets are {', '.join(DATA_SETS)}.")
    if limit is not None and limit < 1:
        raise DataError(f"The limit of images is {limit}. Give a whole number from 1 on, or none.")
    data = DATA_SETS[text](text, folder, seed)
    return data if limit is None else data.first(limit)
