"""What a checkpoint in shards consists of, and which of its folders are still of use.

The checkpoint file, here of the kind ``run in shards``, holds everything but the tensors; those lie in a folder beside it:

    checkpoint.safetensors             {"shards": folder, "size": processes, "tensors": {name: rank}, "body", "history", "measured"}
    shards-<16 hexadecimal digits>/    one folder a checkpoint
        0.safetensors, 1.safetensors   {"shards": folder, "own": one process's generators, "tensors": {name: tensor}}

Every file is one of ``runtime.checkpoint``'s, whole and checksummed.
"""

import re
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from runtime.checkpoint import load_tree, previous_of
from runtime.tree import CheckpointError

HEAD, SHARD = "run in shards", "shard"
FOLDERS = re.compile(r"shards-[0-9a-f]{16}")


def new_folder() -> str:
    """A name that no other checkpoint's shards have."""
    return f"shards-{secrets.token_hex(8)}"


def shard_file(path: Path, folder: str, rank: int) -> Path:
    """Where process ``rank``'s part of the checkpoint at ``path`` lies."""
    return path.parent / folder / f"{rank}.safetensors"


def clear_shards(path: Path) -> None:
    """Remove the folders of shards that neither the checkpoint at ``path`` nor the one before it names."""
    folders = [folder for folder in path.parent.glob("shards-*") if FOLDERS.fullmatch(folder.name) and not folder.is_symlink()]
    if not folders:
        return
    named = {_named(head) for head in (path, previous_of(path))}
    for folder in folders:
        if folder.name not in named:
            shutil.rmtree(folder, ignore_errors=True)


def _named(path: Path) -> str | None:
    """The folder that a checkpoint's shards lie in, if it has any."""
    with suppress(CheckpointError):
        tree: Any = load_tree(path, HEAD)
        return str(tree["shards"])
    return None
