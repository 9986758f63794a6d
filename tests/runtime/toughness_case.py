"""What the tests of toughness share: a run with dropout, batch norm and Adam, its state to the bit, and children that die."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.optim import Adam
from training_case import DATA, SIZE, flat, fresh, timeless

from runtime import History, fit
from runtime.checkpoint import load_tree
from wiring import kp

EPOCHS, EVERY = 2, 3
CHECKPOINT = "checkpoint.safetensors"


class Training:
    """A run as another process would begin it: ``seed`` differs, and the run must not."""

    def __init__(self, seed: int = 0) -> None:
        self.learner = fresh(kp(), seed, rich=True)
        self.optimizer = Adam(self.learner.parameters(), lr=0.01)
        torch.manual_seed(seed + 100)

    def fit(self, folder: Path, resume: bool = False, **options: Any) -> History:
        given = {"epochs": EPOCHS, "test": DATA.test, "batch_size": SIZE, "checkpoint_every": EVERY, "progress": False}
        return fit(self.learner, self.optimizer, DATA.train, folder=folder, resume=resume, **{**given, **options})


def state(folder: Path) -> dict[str, Any]:
    """What a run has come to: learner, optimiser, torch's generator and history, without times."""
    tree: Any = load_tree(folder / CHECKPOINT, "run")
    parts = {name: flat(tree[name]) for name in ("learner", "optimizer")}
    return {**parts, "rng": flat(tree["place"]["rng"]["torch"]), "history": [_timeless(row) for row in tree["history"]]}


def _timeless(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if "second" not in name}


def in_child(work: Callable[[], object]) -> int:
    """Do something in a forked process; what ``os.waitpid`` says of its end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


__all__ = ["CHECKPOINT", "EPOCHS", "EVERY", "Training", "die", "in_child", "state", "timeless"]
