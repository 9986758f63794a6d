"""Data sets from https://www.openml.org through scikit-learn, which keeps them in its own folder once fetched."""

import importlib.util
import math
from dataclasses import dataclass
from http.client import HTTPException

import numpy as np

from runtime.data.cifar import SCALE, normalised
from runtime.data.record import Data, DataError, Split, split_of


@dataclass(frozen=True)
class Source:
    """Where a data set lies on OpenML: its rows are ``train`` and then ``test`` images of ``shape``."""

    title: str
    train: int
    test: int
    shape: tuple[int, int, int]


SOURCES: dict[str, Source] = {
    "mnist": Source("mnist_784", 60_000, 10_000, (1, 28, 28)),
    "fashion-mnist": Source("Fashion-MNIST", 60_000, 10_000, (1, 28, 28)),
    "cifar10": Source("CIFAR_10", 50_000, 10_000, (3, 32, 32)),
}


def load_openml(name: str) -> Data:
    """The data set as its files would give it, if OpenML keeps their order; colour images are normalised.

    Raises:
        DataError: the network or OpenML does not answer, or the answer is not the expected table.
    """
    source = SOURCES[name]
    # Only here: scikit-learn takes a second to import, and reading files can do without it.
    from sklearn.datasets import fetch_openml

    parser = "pandas" if importlib.util.find_spec("pandas") else "liac-arff"
    try:
        bunch = fetch_openml(source.title, version=1, as_frame=False, parser=parser)
    except (OSError, ValueError, HTTPException) as problem:
        raise DataError(
            f"Data {name!r} cannot be fetched from OpenML ({type(problem).__name__}: {problem}). "
            f"Check the network, or pass the folder that holds the original files."
        ) from problem
    rows, columns = source.train + source.test, math.prod(source.shape)
    if bunch.data.shape != (rows, columns):
        raise DataError(
            f"OpenML's {source.title!r} has shape {list(bunch.data.shape)} in place of {[rows, columns]}. "
            f"Pass the folder that holds the original files of {name!r}."
        )
    images = np.asarray(bunch.data, np.uint8).reshape(rows, *source.shape)
    labels = np.asarray(bunch.target).astype(np.int64)
    splits = [split_of(images[part], labels[part]) for part in (slice(source.train), slice(source.train, rows))]
    train, test = map(_colour_normalised, splits)
    return Data(name, train, test, classes=10)


def _colour_normalised(split: Split) -> Split:
    return normalised(split, SCALE) if split.x.shape[1] == 3 else split
