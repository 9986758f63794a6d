"""Batches of an epoch, in an order that a resumed run draws again."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, default_collate
from torch.utils.data.distributed import DistributedSampler

from runtime.data import Split
from runtime.distributed.portion import WHOLE, Portion
from runtime.errors import TrainingError
from runtime.rng import capture_rng, restore_rng
from runtime.tree import CheckpointError, Tree

Samples: TypeAlias = Split | Dataset[Any] | DataLoader[Any]


class Batches(ABC):
    """What an epoch is made of. ``count`` batches, ``None`` where nobody knows before the end."""

    count: int | None

    @abstractmethod
    def facts(self) -> dict[str, Tree]:
        """What a place in an epoch depends on; a run that goes on must have the same."""

    @abstractmethod
    def mark(self) -> Tree:
        """What the next ``draw`` depends on beyond its arguments."""

    @abstractmethod
    def rewind(self, mark: Tree) -> None:
        """Bring back what ``mark`` returned.

        Raises:
            CheckpointError: it was another source's.
        """

    @abstractmethod
    def draw(self, epoch: int, skip: int = 0) -> Iterator[Any]:
        """The batches of ``epoch`` (from 0) behind the first ``skip``.

        Raises:
            CheckpointError: the epoch has fewer than ``skip``.
        """

    @abstractmethod
    def samples(self, number: int) -> int | None:
        """How many samples of an epoch's batch ``number`` (from 0) count here; ``None``: all that it holds."""


@dataclass
class Drawn(Batches):
    """Batches by index: ``take`` gives the samples of an index tensor ``[B]``, the last batch may be smaller.

    The order is a permutation from ``(seed, epoch)``, or without a seed that of the samples. Of every batch ``portion`` is
    drawn; ``size`` is the whole one's, and so is the order, however many processes share it.
    """

    length: int
    size: int
    seed: int | None
    take: Callable[[Tensor], Any]
    portion: Portion = WHOLE

    def __post_init__(self) -> None:
        self.count = -(-self.length // self.size)

    def facts(self) -> dict[str, Tree]:
        return {"source": "samples", "samples": self.length, "batch_size": self.size, "seed": self.seed}

    def mark(self) -> Tree:
        return None

    def rewind(self, mark: Tree) -> None:
        pass

    def draw(self, epoch: int, skip: int = 0) -> Iterator[Any]:
        batches = torch.split(self._order(epoch), self.size)[skip:]
        return map(self.take, batches if self.portion == WHOLE else map(self.portion.of, batches))

    def samples(self, number: int) -> int | None:
        joint = min(self.size, self.length - number * self.size)
        return None if self.portion == WHOLE else self.portion.samples(joint)

    def _order(self, epoch: int) -> Tensor:
        if self.seed is None:
            return torch.arange(self.length)
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)
        return torch.randperm(self.length, generator=generator)


@dataclass
class Loaded(Batches):
    """The batches of a DataLoader, whose order comes from generators: its own, its samplers', or the global ones."""

    loader: DataLoader[Any]

    def __post_init__(self) -> None:
        try:
            self.count = len(self.loader)
        except TypeError:  # a stream
            self.count = None

    def facts(self) -> dict[str, Tree]:
        return {"source": "DataLoader", "batches": self.count, "batch_size": self.loader.batch_size}

    def mark(self) -> Tree:
        return {"rng": capture_rng(), "generators": [generator.get_state() for generator in self._generators()]}

    def rewind(self, mark: Tree) -> None:
        own = self._generators()
        states: Any = mark
        if len(own) != len(states["generators"]):
            raise CheckpointError(
                f"The DataLoader of this checkpoint had {len(states['generators'])} generators and yours has {len(own)}. "
                "Build it as it was, or start anew in another folder."
            )
        restore_rng(states["rng"])
        for generator, state in zip(own, states["generators"], strict=True):
            generator.set_state(state)

    def draw(self, epoch: int, skip: int = 0) -> Iterator[Any]:
        if isinstance(self.loader.sampler, DistributedSampler):
            self.loader.sampler.set_epoch(epoch)
        batches = iter(self.loader)
        for number in range(skip):
            if next(batches, None) is None:
                raise CheckpointError(
                    f"The checkpoint stands behind batch {skip} of an epoch, but the DataLoader ends after {number}. "
                    "Give it the data that it had."
                )
        return batches

    def samples(self, number: int) -> int | None:
        return None

    def _generators(self) -> list[torch.Generator]:
        """Every generator that this loader's order is drawn from, each once."""
        batches: Any = self.loader.batch_sampler
        holders = (self.loader, self.loader.sampler, batches, getattr(batches, "sampler", None))
        found = [getattr(holder, "generator", None) for holder in holders]
        return list({id(generator): generator for generator in found if isinstance(generator, torch.Generator)}.values())


def batches_of(data: Samples, size: int, seed: int | None, name: str, portion: Portion = WHOLE) -> Batches:
    """The batches of ``data``, which is called ``name`` in messages; of each ``portion``, but a DataLoader's as they come.

    Raises:
        TrainingError: ``data`` is nothing that batches can be drawn from, or is empty.
    """
    found: Batches
    if isinstance(data, Split):
        found = Drawn(len(data.x), size, seed, lambda places: (data.x[places], data.y[places]), portion)
    elif isinstance(data, DataLoader):
        found = Loaded(data)
    elif type(data) is TensorDataset:  # whole batches at once, where samples one by one would take longer than a small step
        found = Drawn(len(data), size, seed, data.__getitem__, portion)
    elif isinstance(data, Dataset) and not isinstance(data, IterableDataset) and hasattr(data, "__len__"):
        found = Drawn(len(data), size, seed, lambda places: default_collate([data[place] for place in places.tolist()]), portion)
    else:
        way = "Wrap it in a DataLoader." if isinstance(data, Dataset) else "Give a Split, a map-style Dataset or a DataLoader."
        raise TrainingError(f"Batches cannot be drawn from {name}, a {type(data).__name__}. {way}")
    if found.count == 0:
        raise TrainingError(f"There is nothing in {name}: not one batch comes out of it. Give it at least one sample.")
    return found


def pair(batch: Any, name: str) -> tuple[Any, Any]:
    """A batch as inputs and labels.

    Raises:
        TrainingError: it is no pair.
    """
    if isinstance(batch, tuple | list) and len(batch) == 2:
        return batch[0], batch[1]
    found = f"{type(batch).__name__} of {len(batch)}" if isinstance(batch, tuple | list | dict) else type(batch).__name__
    raise TrainingError(
        f"A batch of {name} is a {found} and not a pair (x, y). Let the data set return (x, y), where x may be "
        "a tuple of arguments or a dict of keywords."
    )
