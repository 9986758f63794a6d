"""What the tests of fit share: a small data set, learners as if just made, and trees compared to the bit."""

import csv
import struct
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.utils.data import Dataset

from compiler import compile
from runtime import History, Learner
from runtime.data import load_data
from wiring import Wiring, dfa

DATA = load_data("digits", limit=70)
SIZE = 16  # 70 samples: four batches and a smaller one
BATCHES = 5


class Noisy(Dataset[tuple[Tensor, Tensor]]):
    """Samples with noise from the global generator: augmentation."""

    def __len__(self) -> int:
        return len(DATA.train.x)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        return DATA.train.x[place] + 0.1 * torch.randn(1, 8, 8), DATA.train.y[place]


class Chain(nn.Sequential):
    """A model with another name."""


@cache
def compiled(
    wiring: Wiring,
    seed: int,
    rich: bool,
    kind: type[nn.Sequential] = nn.Sequential,
    width: int = 16,
    dtype: torch.dtype = torch.float32,
) -> tuple[Learner, dict[str, Tensor]]:
    """A learner, which takes long to make, and the state it began with. ``rich``: with batch norm and dropout."""
    with torch.random.fork_rng(devices=[]):  # only the first call draws: the caller's generator must not tell
        torch.manual_seed(seed)
        between = [nn.BatchNorm1d(width), nn.Tanh(), nn.Dropout(0.2), nn.Linear(width, 12)] if rich else []
        layers = [nn.Flatten(), nn.Linear(64, width), *between, nn.Tanh(), nn.Linear(12 if rich else width, 10)]
        example = DATA.train.x[:SIZE].to(dtype), DATA.train.y[:SIZE]
        learner = Learner(compile(kind(*layers).to(dtype), wiring, example), seed=seed)
        return learner, {name: value.clone() for name, value in learner.state_dict().items()}


def fresh(wiring: Wiring | None = None, seed: int = 0, rich: bool = False, **other: Any) -> Learner:
    """A learner as if just made; the same object at each call with the same arguments."""
    learner, state = compiled(wiring or dfa(), seed, rich, **other)
    vars(learner).pop("learn", None)  # a test's stand-in
    learner.load_state_dict(state)
    learner.train().zero_grad()
    return learner


def optimizer_of(learner: Learner) -> Optimizer:
    return SGD(learner.parameters(), 0.1)


def flat(tree: Any, at: str = "") -> dict[str, Any]:
    """A tree's leaves by place, tensors and floats as their bits."""
    if isinstance(tree, dict | list | tuple):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {name: leaf for key, value in items for name, leaf in flat(value, f"{at}.{key}").items()}
    if isinstance(tree, Tensor):
        return {at: (tree.dtype, tree.shape, tree.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())}
    return {at: struct.pack("d", tree) if isinstance(tree, float) else tree}


def timeless(history: History) -> list[dict[str, Any]]:
    rows = [flat(asdict(row)) for row in history.epochs]
    return [{name: value for name, value in row.items() if "second" not in name} for row in rows]


def raising(error: BaseException, at: int, wrapped: Callable[..., Any]) -> Callable[..., Any]:
    """``wrapped``, but call number ``at`` (from 1) raises before it begins."""
    calls = iter(range(1, 1000))

    def call(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == at:
            raise error
        return wrapped(*args, **kwargs)

    return call


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))
