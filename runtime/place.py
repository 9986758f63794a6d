"""Where a run stands, and the checkpoint from which it goes on bit for bit."""

import json
import reprlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from runtime.batches import Batches
from runtime.checkpoint import kind_of, load_newest, load_tree, match_tensors, previous_of, save_tree
from runtime.distributed.folders import HEAD, clear_shards
from runtime.distributed.peers import ALONE, Peers
from runtime.distributed.seeds import seed_process
from runtime.learner import Learner
from runtime.measures import Sums
from runtime.metrics import EpochMetrics, History, Measured
from runtime.rng import capture_rng, restore_rng
from runtime.tree import CheckpointError, Tree

KIND = "run"
OWN = ("mark", "rng")  # of a place, what every process has its own of


@dataclass
class Place:
    """Where a run stands: ``epoch`` epochs are done, and ``step`` batches of the next; ``total`` steps in all.

    ``mark``: what the order of this epoch's batches comes from; ``rng``: the generators as they were behind the last step;
    ``sums`` (of several processes, this one's share) and ``seconds`` of the epoch so far.
    """

    mark: Tree
    rng: Tree
    epoch: int = 0
    step: int = 0
    total: int = 0
    seconds: float = 0.0
    sums: Sums = field(default_factory=Sums)

    def words(self) -> str:
        """The place for a message."""
        if self.step:
            return f"epoch {self.epoch + 1} behind step {self.step}"
        return f"the end of epoch {self.epoch}" if self.epoch else "the start"


@dataclass(frozen=True)
class RunFile:
    """The checkpoint of a run at ``path``, and everything that it holds the state of.

    ``peers``: the processes that write it together. ``seed``: of the generators of processes that it knows nothing of.
    """

    path: Path
    learner: Learner
    optimizer: Optimizer
    scheduler: LRScheduler | None
    batches: Batches
    peers: Peers = ALONE
    seed: int = 0

    def save(self, place: Place, history: History) -> None:
        """Write the run's state, whole or not at all; several processes call this together.

        Raises:
            CheckpointError: the disk refuses, or an optimiser or scheduler holds what no file can.
        """
        tree: dict[str, Tree] = {
            "identity": self._identity(),
            "learner": self.learner.state_dict(),
            "buffers": dict(self._unsaved_buffers()),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "place": {**vars(place), "sums": asdict(place.sums.over(self.peers))},
            "history": [asdict(row) for row in history.epochs],
            "measured": [asdict(found) for found in history.measured],
        }
        if self.peers.several:
            from runtime.distributed.shards import save_shards  # here and below: what it imports takes a second

            shared: Any = tree["place"]
            own = {name: shared.pop(name) for name in OWN}
            save_shards(self.path, tree, own, self.peers)
        else:
            save_tree(self.path, tree, KIND, previous_of(self.path))
            clear_shards(self.path)

    def load(self) -> tuple[Place, History]:
        """Put everything back as it was saved; the generators stand where the epoch's batches are drawn from.

        Raises:
            CheckpointError: no such file, damaged, or of another model, wiring, optimiser, scheduler or data; nothing was
                changed then.
        """
        tree: Any = read_run(self.path, self.peers)
        if not isinstance(tree, dict) or "identity" not in tree:
            raise CheckpointError(f"Checkpoint '{self.path}' calls itself a {KIND!r}, but fit did not write it. Choose another.")
        try:
            return self._restore(tree)
        except CheckpointError:
            raise
        except Exception as error:  # optimisers and schedulers have errors of their own for states that are none of theirs
            raise CheckpointError(
                f"Checkpoint '{self.path}' calls itself a {KIND!r}, but what it holds is not what fit wrote "
                f"({type(error).__name__}: {error}). Choose another."
            ) from error

    def _restore(self, tree: dict[str, Any]) -> tuple[Place, History]:
        sums = Sums(**tree["place"]["sums"])
        place = Place(**{"mark": None, "rng": None, **tree["place"], "sums": sums if self.peers.first else Sums()})
        history = history_of(tree)
        self._check(tree)
        self._restore_own(place)
        self.learner.load_state_dict(tree["learner"])
        for name, buffer in self._unsaved_buffers().items():
            buffer.copy_(tree["buffers"][name])
        self.optimizer.load_state_dict(tree["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(tree["scheduler"])
        return place, history

    def _restore_own(self, place: Place) -> None:
        """Set this process's generators; a process that the checkpoint knows nothing of begins with new ones."""
        if place.rng is None:
            seed_process(self.seed, self.peers.rank, place.total)
            place.mark, place.rng = self.batches.mark(), capture_rng()
        else:
            restore_rng(place.rng)
            self.batches.rewind(place.mark)

    def _check(self, tree: dict[str, Any]) -> None:
        told = difference(tree["identity"], self._identity())
        if told is not None:
            raise CheckpointError(
                f"Checkpoint '{self.path}' belongs to another run: {told}. Build the run as it was, "
                "or start this one in another folder. Nothing was changed."
            )
        found = {**tree["learner"], **tree["buffers"]}
        expected = {**self.learner.state_dict(), **self._unsaved_buffers()}
        match_tensors(_tensors(expected), _tensors(found), self.path)
        for name, tensor in _tensors(expected).items():
            if found[name].dtype != tensor.dtype:
                raise CheckpointError(
                    f"Checkpoint '{self.path}' does not fit here: {name} is {found[name].dtype} there and {tensor.dtype} here. "
                    f"Convert the model with .to({found[name].dtype}) and compile it again. Nothing was changed."
                )

    def _identity(self) -> dict[str, Tree]:
        """What must be the same for a run to go on: names and settings, no state."""
        names = {id(parameter): name for name, parameter in self.learner.named_parameters()}
        groups = [[names.get(id(p), "not the learner's") for p in group["params"]] for group in self.optimizer.param_groups]
        return {
            "model": type(self.learner.model).__qualname__,
            "wiring": json.loads(self.learner.program.wiring.to_json()),
            "optimizer": type(self.optimizer).__qualname__,
            "optimizer's groups": groups,
            "scheduler": None if self.scheduler is None else type(self.scheduler).__qualname__,
            "data": self.batches.facts(),
        }

    def _unsaved_buffers(self) -> dict[str, Tensor]:
        """Buffers that a state dict leaves out, though a step may change them."""
        saved = self.learner.state_dict()
        return {name: buffer.detach() for name, buffer in self.learner.named_buffers() if name not in saved}


def read_run(path: Path, peers: Peers = ALONE) -> Tree:
    """The tree of a run's checkpoint, in one file or in shards: ``identity``, ``learner`` (a state dict), ``history``, ...

    Its place has the generators of process ``peers.rank``, if there was one of that rank.

    Raises:
        CheckpointError: there is no run's checkpoint at ``path``, or it is damaged.
    """
    return load_newest(path, lambda place: _read(place, peers))


def _read(path: Path, peers: Peers) -> Tree:
    if _is_in_shards(path):
        from runtime.distributed.shards import load_shards

        tree, own = load_shards(path, peers)
        return {**tree, "place": {**tree["place"], **own}} if isinstance(own, dict) else tree
    whole: Any = load_tree(path, KIND)
    if not peers.first and isinstance(whole, dict) and isinstance(whole.get("place"), dict):
        whole["place"] = {name: value for name, value in whole["place"].items() if name not in OWN}
    read: Tree = whole
    return read


def _is_in_shards(path: Path) -> bool:
    try:
        return kind_of(path) == HEAD
    except CheckpointError:  # told by who reads it
        return False


def history_of(tree: Mapping[str, Any]) -> History:
    """The history in a run's checkpoint; runs of earlier versions measured nothing."""
    measured = tuple(Measured(**found) for found in tree.get("measured", ()))
    return History(tuple(EpochMetrics(**row) for row in tree["history"]), measured)


def _tensors(tree: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: value for name, value in tree.items() if isinstance(value, Tensor)}


def difference(there: Any, here: Any, at: str = "") -> str | None:
    """In words, the first place at which two trees of plain values differ; ``None`` if they are the same."""
    if isinstance(there, dict) and isinstance(here, dict):
        return _first_difference(there, here, at)
    if isinstance(there, list) and isinstance(here, list):
        return _first_difference(dict(enumerate(there)), dict(enumerate(here)), at)
    return None if there == here else f"{at} is {there!r} there and {here!r} here"


def _first_difference(there: dict[Any, Any], here: dict[Any, Any], at: str) -> str | None:
    for key in [*there, *(key for key in here if key not in there)]:
        inner = f"{at}.{key}" if at else str(key)
        if key not in there or key not in here:
            value, where = (there[key], "here") if key in there else (here[key], "there")
            return f"{inner} is missing {where} ({reprlib.repr(value)})"
        told = difference(there[key], here[key], inner)
        if told is not None:
            return told
    return None
