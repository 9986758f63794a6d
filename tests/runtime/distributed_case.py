"""What two processes do in the tests of several processes, one case behind the other: their start costs more than all of them."""

import json
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

from compiler import compile
from compiler.world import World
from runtime import History, Learner, fit
from runtime.data import load_data
from runtime.distributed import ALONE, DivergedRanks, Peers, joined, storage
from runtime.distributed.digests import check_states
from runtime.interruption import Terminated
from runtime.tree import CheckpointError
from wiring import dkp

SIZE, EPOCHS, STOP = 16, 3, 7  # 65 samples: four whole batches, and one sample that only the first process has


def sets(name: str = "train", dtype: torch.dtype = torch.float64) -> TensorDataset:
    data = load_data("digits", limit=65)
    part = data.train if name == "train" else data.test
    return TensorDataset(part.x.to(dtype), part.y)


@cache
def compiled(world: World | None, dropout: float, reduction: str) -> tuple[Learner, dict[str, Tensor]]:
    """A learner, which takes long to make, and the state it began with."""
    with torch.random.fork_rng(devices=[]):  # only the first call draws: the caller's generator must not tell
        torch.manual_seed(0)
        layers = [nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 10)]
        loss, example = nn.CrossEntropyLoss(reduction=reduction), sets()[: SIZE // 2]
        learner = Learner(compile(nn.Sequential(*layers).double(), dkp(), example, loss, world=world))
        return learner, {name: value.clone() for name, value in learner.state_dict().items()}


def learner_of(world: World | None = None, dropout: float = 0.0, reduction: str = "mean") -> Learner:
    """A learner as if just made."""
    learner, state = compiled(world, dropout, reduction)
    vars(learner).pop("learn", None)  # a stand-in of `stopped`
    learner.load_state_dict(state)
    learner.train().zero_grad()
    return learner


def trained(folder: Path, peers: Peers = ALONE, learner: Learner | None = None, dropout: float = 0.0, **other: Any) -> History:
    """A run with everything that has a state: momentum, clipping, a scheduler, checkpoints within epochs."""
    learner = learner or learner_of(peers.world, dropout)
    optimizer = SGD(learner.parameters(), 0.3, momentum=0.9)
    settings: dict[str, Any] = {"scheduler": StepLR(optimizer, 1, 0.5), "clip_norm": 2.0, "checkpoint_every": 3, "progress": False}
    settings |= {"epochs": EPOCHS, "batch_size": SIZE, "test": sets("test"), "folder": folder}
    return fit(learner, optimizer, other.pop("data", None) or sets(), **{**settings, **other})


def stopped(folder: Path, stop: Callable[[], None], peers: Peers = ALONE, dropout: float = 0.0, here: bool = True) -> None:
    """A run in which ``stop`` is called in the middle of a step, on this process if it is ``here``."""
    learner = learner_of(peers.world, dropout)
    learn, calls = learner.learn, iter(range(1, 1000))

    def stopping(x: Any, y: Any, samples: int | None = None) -> Any:
        if next(calls) == STOP and here:
            stop()
        return learn(x, y, samples=samples)

    learner.learn = stopping  # type: ignore[method-assign]
    trained(folder, peers, learner)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


# ------------------------------------------------------------------------------------------------ in each of two processes


def whole(folder: Path, peers: Peers) -> Any:
    return [asdict(row) for row in trained(folder, peers).epochs]


def a_loss_that_is_a_sum(folder: Path, peers: Peers) -> Any:
    return [asdict(row) for row in trained(folder, peers, learner_of(peers.world, reduction="sum")).epochs]


def told_to_stop(folder: Path, peers: Peers) -> Any:
    try:
        stopped(folder, terminate, peers, here=peers.rank == 1)
    except Terminated as error:
        return error.__notes__


def from_one(folder: Path, peers: Peers) -> Any:
    return [asdict(row) for row in trained(folder, peers, resume=True).epochs]


def with_dropout(folder: Path, peers: Peers) -> Any:
    trained(folder / "whole", peers, dropout=0.5)
    try:
        stopped(folder / "stopped", terminate, peers, 0.5, here=peers.rank == 0)
    except Terminated:
        trained(folder / "stopped", peers, dropout=0.5, resume=True)
    return torch.get_rng_state()[:2500].sum().item()


def another_weight(folder: Path, peers: Peers) -> Any:
    learner = learner_of(peers.world)
    with torch.no_grad():
        learner.model[4].weight[0, 0] += 1e-12 * peers.rank
    try:
        trained(folder, peers, learner)
    except DivergedRanks as error:
        return str(error)


def another_momentum(folder: Path, peers: Peers) -> Any:
    learner = learner_of(peers.world)
    optimizer = SGD(learner.parameters(), 0.3, momentum=0.9)
    optimizer.state[learner.model[1].bias]["momentum_buffer"] = torch.full((16,), 1e-12 * peers.rank)
    try:
        check_states(peers, learner, optimizer)
    except DivergedRanks as error:
        return str(error)


def loaders_of_other_lengths(folder: Path, peers: Peers) -> Any:
    try:
        trained(folder, peers, data=DataLoader(sets(), 16 if peers.first else 32))
    except DivergedRanks as error:
        return str(error)


def one_full_disk(folder: Path, peers: Peers) -> Any:
    save_tree, seen = storage.save_tree, []

    def refusing(path: Path, *arguments: Any) -> None:
        seen.append(path)
        if len(seen) > 2 and peers.rank == 1:
            raise CheckpointError(f"Checkpoint '{path}' could not be written (No space left on device).")
        save_tree(path, *arguments)

    storage.save_tree = refusing  # type: ignore[assignment]
    try:
        trained(folder, peers)
    except CheckpointError as error:
        return str(error)
    finally:
        storage.save_tree = save_tree


CASES = (
    whole, a_loss_that_is_a_sum, told_to_stop, from_one, with_dropout, another_weight, another_momentum, loaders_of_other_lengths,
    one_full_disk,
)  # fmt: skip


def process(rank: int, port: int, folder: str) -> None:
    """Do every case, and leave what it gives in ``<case>-<rank>.json``."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    torch.set_num_threads(1)
    with joined() as peers:
        for case in CASES:
            given = case(Path(folder) / case.__name__, peers)
            (Path(folder) / f"{case.__name__}-{rank}.json").write_text(json.dumps(given))


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


def state(tree: Any) -> dict[str, Tensor]:
    """What a run's checkpoint holds of learner and optimiser, by name."""
    moments = {f"momentum of {k}": part["momentum_buffer"] for k, part in tree["optimizer"]["state"].items()}
    return {**tree["learner"], **moments}
