"""A checkpoint: one safetensors file, its tensors in the body and all else as JSON in the header; no pickle.

The header's metadata has one key, ``errorwire``: ``{"format", "kind", "checksum", "tree"}``; ``runtime.tree`` says how a tree is written.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from compiler.files import put
from runtime.files import PLACE
from runtime.tree import DAMAGE, CheckpointError, Tree, checksum, decode, own_copy, taken_apart

FORMAT = 1
KEY = "errorwire"


def save_tree(path: Path, tree: Tree, kind: str, previous: Path | None = None) -> None:
    """Write ``tree`` to ``path`` as a checkpoint of ``kind`` ("learner", "run", ...), whole or not at all.

    What lay there before is afterwards called ``previous``, where the disk knows hard links; without it, it is gone.

    Tensors are stored by value: gradients, devices and the sharing of storage between them do not come back, and
    neither do attributes that hang on an OrderedDict. The folder must exist. A process killed on the way leaves at
    most a stray ``.errorwire-*.tmp`` beside the file.

    Raises:
        CheckpointError: the tree holds something else (told with its place), or the disk refuses.
    """
    body, tensors = taken_apart(tree, path)
    header = {"format": FORMAT, "kind": kind, "checksum": checksum(kind, body, tensors), "tree": body}
    try:
        data = save(tensors, {KEY: json.dumps(header, allow_nan=False)})
    except SafetensorError as error:
        raise CheckpointError(
            f"Checkpoint '{path}' does not fit into a safetensors file ({error}): its header holds 100 MB of plain "
            f"values; turn long lists of numbers into tensors. Nothing was written."
        ) from error
    _write_whole(path, data, previous)


def _write_whole(path: Path, data: bytes, previous: Path | None) -> None:
    """Put ``data`` under ``path`` in one step, so that a reader finds either the old file or all of the new one."""
    try:
        put(path, data, previous)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"Checkpoint '{path}' could not be written ({error}). {PLACE} A file that was there before is untouched."
        ) from error
    try:
        _sync_folder(path.parent)
    except OSError as error:
        raise CheckpointError(
            f"Checkpoint '{path}' is written whole, but its folder could not be flushed to disk ({error}): a power "
            f"cut may bring the earlier file back. Save again, or to a local disk."
        ) from error


def _sync_folder(folder: Path) -> None:
    """Bring the entries of ``folder``, a renaming say, to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_tree(path: Path, kind: str) -> Tree:
    """The tree that `save_tree` wrote: the same types and bits; tensors on the CPU, each with its own storage.

    Raises:
        CheckpointError: the file is missing, unreadable, damaged, foreign, of a newer format, or of another kind.
    """
    with _opened(path) as file:
        text = (file.metadata() or {}).get(KEY)
        if text is None:
            raise CheckpointError(
                f"'{path}' is a safetensors file, but no errorwire checkpoint: it has no '{KEY}' in its header. "
                f"Read it with safetensors.torch.load_file and load its tensors into the model yourself."
            )
        header = json.loads(text)
        _check_header(path, header, kind)
        # A copy leaves the mapped file, which another process may change, and is aligned as torch aligns.
        tensors = {name: own_copy(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 - no iterator
        if header["checksum"] != checksum(header["kind"], header["tree"], tensors):
            raise ValueError("its checksum does not fit its content")
        tree: Tree = decode(header["tree"], tensors)
    return tree


def kind_of(path: Path) -> str:
    """The kind of the checkpoint at ``path``; that the rest of the file is whole is not looked at.

    Raises:
        CheckpointError: there is no checkpoint at ``path``.
    """
    with _opened(path) as file:
        kind = json.loads((file.metadata() or {})[KEY])["kind"]
    return str(kind)


def previous_of(path: Path) -> Path:
    """Where the checkpoint before the one at ``path`` is kept."""
    return path.with_stem(f"{path.stem}.previous")


def load_newest(path: Path, load: Callable[[Path], Tree]) -> Tree:
    """What ``load`` makes of the checkpoint at ``path``; where it fails, the error says whether the checkpoint before it is whole.

    Raises:
        CheckpointError: as ``load`` does.
    """
    try:
        return load(path)
    except CheckpointError as error:
        older = previous_of(path)
        try:
            load(older)
        except CheckpointError:
            raise error from None
        raise CheckpointError(
            f"{error} The checkpoint before it, '{older}', is whole: copy it to '{path}' and resume to go on from there."
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file; what goes wrong while it is read becomes a CheckpointError."""
    try:
        if path.exists() and not path.is_file():  # a pipe would keep its reader waiting
            raise OSError("it is no file")
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no checkpoint '{path}'. Check the path, or save one there first.") from error
    except OSError as error:
        raise CheckpointError(
            f"Checkpoint '{path}' could not be read ({error}). Give the path of a file that you may read."
        ) from error
    except DAMAGE as error:
        raise CheckpointError(
            f"Checkpoint '{path}' is cut short, damaged, or no safetensors file at all ({error}). errorwire puts "
            f"files in place whole, so suspect the copying or the disk; load another checkpoint."
        ) from error


def _check_header(path: Path, header: Any, kind: str) -> None:
    if not isinstance(header, dict) or type(header["format"]) is not int or header["format"] < 1:
        raise ValueError("its header has no format version")
    if header["format"] > FORMAT:
        raise CheckpointError(
            f"Checkpoint '{path}' has format {header['format']}, and this errorwire reads up to {FORMAT}: it was "
            f"written by a newer one. Upgrade errorwire, or save again with this version."
        )
    if header["kind"] != kind:
        raise CheckpointError(
            f"Checkpoint '{path}' holds a {header['kind']!r}, not a {kind!r}. Load it as what it is, or give the "
            f"path of a {kind!r} checkpoint."
        )


def match_tensors(expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor], path: Path) -> None:
    """Refuse the tensors ``found`` in ``path`` unless they have the names and shapes of those ``expected``.

    Raises:
        CheckpointError: lists the missing, unexpected and wrongly shaped names, the first three of each.
    """
    wrong = {
        "missing": [name for name in expected if name not in found],
        "unexpected": [name for name in found if name not in expected],
        "wrongly shaped": [
            f"{name} {list(found[name].shape)} where {list(tensor.shape)} is wanted"
            for name, tensor in expected.items()
            if name in found and found[name].shape != tensor.shape
        ],
    }
    told = [f"{len(names)} {what} ({_few(names)})" for what, names in wrong.items() if names]
    if told:
        raise CheckpointError(
            f"Checkpoint '{path}' does not fit here: {'; '.join(told)}. It belongs to another model or wiring: build "
            f"the ones it was saved with, or choose another checkpoint. Nothing was changed."
        )


def _few(names: list[str]) -> str:
    return ", ".join(names[:3] + ["..."] * (len(names) > 3))
