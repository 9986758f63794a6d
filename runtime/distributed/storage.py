"""Where torch.distributed.checkpoint puts tensors: one safetensors file a process and a head that names them. No pickle."""

import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, Metadata, TensorProperties, TensorStorageMetadata
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.futures import Future

from runtime.checkpoint import load_tree, previous_of, save_tree
from runtime.distributed.folders import FOLDERS, HEAD, SHARD, shard_file
from runtime.distributed.peers import Peers
from runtime.tree import CheckpointError, Tree


class ShardWriter(StorageWriter):
    """Writes each process's tensors and its ``own`` state, and at last, as the first process, the head at ``path``.

    ``named``: the folder of the shards beside ``path``. ``head``: what the head says besides.
    """

    def __init__(self, path: Path, named: str, peers: Peers, head: Mapping[str, Tree], own: Tree) -> None:
        self.path, self.named, self.peers = path, named, peers
        self.head, self.own = head, own

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        pass

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        folder = self.path.parent / self.named
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"The folder '{folder}' cannot be made ({error.strerror}). Choose another.") from error

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        return plans

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        tensors = {item.index.fqn: _tensor(planner.resolve_data(item)) for item in plan.items}
        tree: dict[str, Tree] = {"shards": self.named, "own": self.own, "tensors": tensors}
        save_tree(shard_file(self.path, self.named, self.peers.rank), tree, SHARD)
        done: Future[list[WriteResult]] = Future()
        done.set_result([WriteResult(item.index, tensors[item.index.fqn].nbytes, self.peers.rank) for item in plan.items])
        return done

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        ranks = {result.index.fqn: result.storage_data for part in results for result in part}
        tree: dict[str, Tree] = {"shards": self.named, "size": self.peers.size, "tensors": ranks, **self.head}
        save_tree(self.path, tree, HEAD, previous_of(self.path))

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        return True


class ShardReader(StorageReader):
    """Reads what `ShardWriter` wrote, as many shards of it as are asked for.

    Raises:
        CheckpointError: the head at ``path`` is missing, damaged, or no head.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        head: Any = load_tree(path, HEAD)
        try:
            self.named, self.size = str(head["shards"]), int(head["size"])
            self.ranks = {str(name): int(rank) for name, rank in head["tensors"].items()}
            self._body: Any = json.loads(head["body"])
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise self._foreign() from error
        if not FOLDERS.fullmatch(self.named) or not set(self.ranks.values()) <= set(range(self.size)):
            raise self._foreign()

    def body(self) -> Any:
        """The plain part of the tree, for ``put_together``."""
        return self._body

    def own(self, rank: int) -> Tree:
        """What was process ``rank``'s own; ``None`` if there was no such process."""
        if rank >= self.size:
            return None
        own: Tree = self._shard(rank)["own"]
        return own

    def empty(self) -> dict[str, Tensor]:
        """Room for every tensor, by name."""
        return {name: torch.empty_like(tensor) for name, tensor in self._tensors.items()}

    @cached_property
    def _tensors(self) -> dict[str, Tensor]:
        found = {name: tensor for rank in sorted(set(self.ranks.values())) for name, tensor in self._shard(rank)["tensors"].items()}
        if found.keys() != self.ranks.keys() or not all(isinstance(tensor, Tensor) for tensor in found.values()):
            raise self._foreign()
        return found

    def _shard(self, rank: int) -> dict[str, Any]:
        path = shard_file(self.path, self.named, rank)
        tree: Any = load_tree(path, SHARD)
        if not isinstance(tree, dict) or tree.keys() != {"shards", "own", "tensors"} or tree["shards"] != self.named:
            raise CheckpointError(
                f"Shard '{path}' belongs to another checkpoint than '{self.path}', which names it. Copy a run's folder as a whole."
            )
        return tree

    def _foreign(self) -> CheckpointError:
        return CheckpointError(f"Checkpoint '{self.path}' calls itself a {HEAD!r}, but fit did not write it. Choose another.")

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        pass

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        return Metadata({name: _described(tensor) for name, tensor in self._tensors.items()})

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        pass

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        for item in plan.items:
            part = self._tensors[item.storage_index.fqn]
            for axis, (start, length) in enumerate(zip(item.storage_offsets, item.lengths, strict=True)):
                part = part.narrow(axis, start, length)
            place = planner.resolve_tensor(item)
            place.copy_(part)
            planner.commit_tensor(item, place)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        return True


def _tensor(value: Any) -> Tensor:
    """What a planner gives for a tensor, on the CPU as the file holds it."""
    assert isinstance(value, Tensor)  # `taken_apart` leaves nothing else
    return value.detach()


def _described(tensor: Tensor) -> TensorStorageMetadata:
    whole = ChunkStorageMetadata(torch.Size([0] * tensor.dim()), tensor.shape)
    return TensorStorageMetadata(TensorProperties.create_from_tensor(tensor), tensor.shape, [whole])
