"""What a study's networks are trained and tested on, by name: images, and the synthetic sets of the papers."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from torch.utils.data import TensorDataset

from runtime.batches import batches_of
from runtime.data import DATA_SETS, Split, load_data
from runtime.errors import TrainingError
from runtime.reproduce.synthetic import cosines, gaussian_clusters


@dataclass(frozen=True, eq=False)
class Problem:
    """Samples to train and to test on; ``outputs``: of the network, which reads inputs of ``input_shape``."""

    train: Split | TensorDataset
    test: Split | TensorDataset
    input_shape: tuple[int, ...]
    outputs: int

    def limited(self, count: int | None) -> "Problem":
        """With at most the first ``count`` samples to train on."""
        if count is None or count >= length(self.train):
            return self
        if isinstance(self.train, Split):
            return replace(self, train=self.train.first(count))
        return replace(self, train=TensorDataset(*self.train[:count]))

    def batch(self, size: int) -> tuple[Any, Any]:
        """The first ``size`` samples to test on, as a batch."""
        x, y = next(iter(batches_of(self.test, size, None, "test").draw(0)))
        return x, y


def length(samples: Split | TensorDataset) -> int:
    """How many samples there are."""
    return len(samples.x) if isinstance(samples, Split) else len(samples)


def _images(name: str, folder: Path | None) -> Problem:
    data = load_data(name, folder)
    return Problem(data.train, data.test, data.input_shape, data.classes)


def _gaussian_clusters(folder: Path | None) -> Problem:
    train, test = gaussian_clusters()
    return Problem(train, test, tuple(train.x.shape[1:]), 10)


def _cosines(folder: Path | None) -> Problem:
    train, test = cosines()
    return Problem(train, test, (256,), 10)


PROBLEMS: dict[str, Callable[[Path | None], Problem]] = {
    **{name: partial(_images, name) for name in DATA_SETS},
    "gaussian_clusters": _gaussian_clusters,
    "cosines": _cosines,
}
"""Called as ``problem(folder)``, where the original files of images lie; pixels are in [0, 1], those of CIFAR-10 normalised."""


@lru_cache(maxsize=1)
def problem_named(name: str, folder: Path | None) -> Problem:
    """The problem of this name; that asked for last is kept.

    Raises:
        TrainingError: there is none.
        DataError: its files cannot be had.
    """
    if name not in PROBLEMS:
        raise TrainingError(f"No problem is called {name!r}. Problems: {', '.join(PROBLEMS)}.")
    return PROBLEMS[name](folder)
