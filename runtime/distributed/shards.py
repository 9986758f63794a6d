"""A run's checkpoint written by all of its processes with torch.distributed.checkpoint, and read by any number of them.

``runtime.distributed.folders`` says what lies where. The folder of the shards counts from the moment in which the checkpoint file
that names it is put in place.
"""

import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from runtime.distributed.folders import HEAD, clear_shards, new_folder
from runtime.distributed.peers import Peers
from runtime.distributed.storage import ShardReader, ShardWriter
from runtime.tree import CheckpointError, Tree, put_together, taken_apart


def save_shards(path: Path, tree: Mapping[str, Tree], own: Tree, peers: Peers) -> None:
    """Write ``tree``, the same on all processes, and each one's ``own``: whole or not at all. All of them call this.

    Raises:
        CheckpointError: one of them could not write; raised on all, and the checkpoint before is untouched.
    """
    body, tensors = taken_apart(tree, path)
    named = peers.by_first(new_folder)
    head = {"body": json.dumps(body, allow_nan=False), "history": tree["history"], "measured": tree["measured"]}
    try:
        save(dict(tensors), storage_writer=ShardWriter(path, named, peers, head, own), process_group=peers.process_group())
    except CheckpointException as failed:
        if peers.first:
            shutil.rmtree(path.parent / named, ignore_errors=True)
        raise _first_failure(failed, path) from failed
    if peers.first:
        clear_shards(path)


def load_shards(path: Path, peers: Peers) -> tuple[dict[str, Any], Tree]:
    """The tree that `save_shards` wrote, and what was this rank's own; ``None`` for a rank that had no part in it.

    Raises:
        CheckpointError: a file is missing, damaged, or of another checkpoint.
    """
    reader = ShardReader(path)
    tensors = reader.empty()
    try:
        with warnings.catch_warnings():  # that there is no process group, where there is one process
            warnings.simplefilter("ignore", UserWarning)
            load(tensors, storage_reader=reader, no_dist=True)
    except CheckpointException as failed:
        raise _first_failure(failed, path) from failed
    tree = put_together(reader.body(), tensors, path)
    if not isinstance(tree, dict):
        raise CheckpointError(f"Checkpoint '{path}' calls itself a {HEAD!r}, but fit did not write it. Choose another.")
    return tree, reader.own(peers.rank)


def _first_failure(failed: CheckpointException, path: Path) -> CheckpointError:
    rank, (error, _) = min(failed.failures.items())
    if isinstance(error, CheckpointError):
        return CheckpointError(f"Process {rank}: {error}")
    return CheckpointError(
        f"Checkpoint '{path}' could not be written or read by process {rank} ({type(error).__name__}: {error}). Let all processes "
        "reach one folder, with room, that they may write to. The checkpoint before is untouched."
    )
