"""A checkpoint: one safetensors file, its tensors in the body and all else as JSON in the header; no pickle.

The header's metadata has one key, ``errorwire``: ``{"format", "kind", "checksum", "tree"}``. A tree is written as JSON
values for None, bool, int, finite float, str and list, and as an object with one key for the rest:
``{"tuple": [...]}``, ``{"dict": [[key, value], ...]}``, ``{"tensor": name}``, ``{"float": hex}``.
"""

import json
import math
import os
import struct
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from runtime.files import PLACE, put
from wiring.errors import ErrorwireError

Tree: TypeAlias = (
    "bool | int | float | str | torch.Tensor | Sequence[Tree] | Mapping[str, Tree] | Mapping[int, Tree]"
    " | Mapping[str | int, Tree] | None"
)

FORMAT = 1
_KEY = "errorwire"
_DEEPEST = 100  # levels; further down a tree holds itself, or JSON would run out of stack
_WIDEST = 2048  # bits; Python may be set to refuse decimal numbers of more than 640 digits
_MAPPINGS: dict[str, type[dict[Any, Any]]] = {"dict": dict, "OrderedDict": OrderedDict, "Counter": Counter}
_WHOLE = {torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64}
_WHOLE |= {torch.int8, torch.int16, torch.int32, torch.int64}
_REAL = {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2}
_DTYPES = _WHOLE | _REAL | {torch.complex64}
_DAMAGE = (SafetensorError, ValueError, KeyError, TypeError, IndexError, RecursionError, RuntimeError, MemoryError, struct.error)


class CheckpointError(ErrorwireError):
    """A checkpoint cannot be written, read, or put to use here."""


@dataclass
class _Encoder:
    """Turns a tree into JSON values and gathers its tensors; refuses what could not come back the same."""

    path: Path
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)

    def encode(self, value: Any, at: tuple[str | int, ...] = ()) -> Any:
        """``value``, found under the keys ``at``, as JSON. Types count exactly: a subclass would not come back."""
        kind = type(value)
        if len(at) > _DEEPEST:
            self._refuse(at, f"nested deeper than {_DEEPEST} levels (does it hold itself?)")
        if value is None or kind is bool:
            return value
        if kind is int and value.bit_length() <= _WIDEST:
            return value
        if kind is float:  # JSON has neither infinities nor nan, and nan has bits of its own
            return value if math.isfinite(value) else {"float": struct.pack(">d", value).hex()}
        if kind is str and value.encode("utf-8", "ignore").decode() == value:  # a lone surrogate is no UTF-8
            return value
        if kind is torch.Tensor:
            return {"tensor": self._take(value, at)}
        if kind is list:
            return [self.encode(item, (*at, i)) for i, item in enumerate(value)]
        if kind is tuple:
            return {"tuple": [self.encode(item, (*at, i)) for i, item in enumerate(value)]}
        if kind in _MAPPINGS.values():
            return {kind.__name__: [self._pair(key, item, at) for key, item in value.items()]}
        self._refuse(at, f"{kind} with lone surrogates" if kind is str else f"{'huge ' if kind is int else ''}{kind}")

    def _pair(self, key: Any, item: Any, at: tuple[str | int, ...]) -> list[Any]:
        if type(key) not in (str, int):
            self._refuse(at, f"the key {key!r} of {type(key)}")
        return [self.encode(key, at), self.encode(item, (*at, key))]

    def _take(self, tensor: torch.Tensor, at: tuple[str | int, ...]) -> str:
        """File a copy of ``tensor`` (any shape), if it is one that a file can hold; return its name there."""
        dense = tensor.layout is torch.strided and not tensor.is_nested and tensor.device.type != "meta"
        if not dense or tensor.dtype not in _DTYPES:
            self._refuse(at, f"a tensor of {tensor.dtype}, {tensor.layout}, on {tensor.device}")
        name = _place(at)  # for other readers of safetensors; two places can print alike (keys 0 and "0")
        while name in self.tensors or name == "__metadata__":
            name += "'"
        self.tensors[name] = _own(tensor)
        return name

    def _refuse(self, at: tuple[str | int, ...], what: str) -> NoReturn:
        raise CheckpointError(
            f"Checkpoint '{self.path}' cannot hold {_place(at)}: {what}. It holds plain dense tensors (detach() a "
            f"Parameter) and None, bool, int, float, str in lists, tuples and dicts with str or int keys: convert it. "
            f"Nothing was written."
        )


def _place(at: tuple[str | int, ...]) -> str:
    return ".".join(map(str, at)) or "tree"


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """A copy on the CPU, contiguous, with storage of its own; bits as in ``tensor``, whatever it is a view of."""
    return torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())


def _decode(node: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """Invert `_Encoder.encode`; ValueError, KeyError and the like where ``node`` is nothing that it wrote."""
    if isinstance(node, list):
        return [_decode(item, tensors) for item in node]
    if not isinstance(node, dict):
        return node
    ((tag, content),) = node.items()
    if tag in _MAPPINGS:
        return _MAPPINGS[tag]({_decode(key, tensors): _decode(item, tensors) for key, item in content})
    if tag == "tuple":
        return tuple(_decode(item, tensors) for item in content)
    if tag == "tensor":
        return tensors[content]
    if tag == "float":
        return struct.unpack(">d", bytes.fromhex(content))[0]
    raise ValueError(f"unknown tag {tag!r}")


def _checksum(kind: str, tree: Any, tensors: Mapping[str, torch.Tensor]) -> int:
    """CRC-32 over the JSON tree and the bytes of all tensors: safetensors itself notices only a wrong length."""
    total = zlib.crc32(json.dumps([kind, tree], allow_nan=False).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), total)
        total = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, total)
    return total


def save_tree(path: Path, tree: Tree, kind: str, previous: Path | None = None) -> None:
    """Write ``tree`` to ``path`` as a checkpoint of ``kind`` ("learner", "run", ...), whole or not at all.

    What lay there before is afterwards called ``previous``, where the disk knows hard links; without it, it is gone.

    Tensors are stored by value: gradients, devices and the sharing of storage between them do not come back, and
    neither do attributes that hang on an OrderedDict. The folder must exist. A process killed on the way leaves at
    most a stray ``.errorwire-*.tmp`` beside the file.

    Raises:
        CheckpointError: the tree holds something else (told with its place), or the disk refuses.
    """
    encoder = _Encoder(path)
    body = encoder.encode(tree)
    header = {"format": FORMAT, "kind": kind, "checksum": _checksum(kind, body, encoder.tensors), "tree": body}
    try:
        data = save(encoder.tensors, {_KEY: json.dumps(header, allow_nan=False)})
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
        text = (file.metadata() or {}).get(_KEY)
        if text is None:
            raise CheckpointError(
                f"'{path}' is a safetensors file, but no errorwire checkpoint: it has no '{_KEY}' in its header. "
                f"Read it with safetensors.torch.load_file and load its tensors into the model yourself."
            )
        header = json.loads(text)
        _check_header(path, header, kind)
        # A copy leaves the mapped file, which another process may change, and is aligned as torch aligns.
        tensors = {name: _own(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 - no iterator
        if header["checksum"] != _checksum(header["kind"], header["tree"], tensors):
            raise ValueError("its checksum does not fit its content")
        tree: Tree = _decode(header["tree"], tensors)
    return tree


def kind_of(path: Path) -> str:
    """The kind of the checkpoint at ``path``; that the rest of the file is whole is not looked at.

    Raises:
        CheckpointError: there is no checkpoint at ``path``.
    """
    with _opened(path) as file:
        kind = json.loads((file.metadata() or {})[_KEY])["kind"]
    return str(kind)


def taken_apart(tree: Tree, path: Path) -> tuple[Any, dict[str, torch.Tensor]]:
    """A tree as JSON values, and copies of its tensors on the CPU by name: for those who keep the two in different files.

    Raises:
        CheckpointError: the tree holds what no file can; ``path`` is the checkpoint's in that message.
    """
    encoder = _Encoder(path)
    return encoder.encode(tree), encoder.tensors


def put_together(body: Any, tensors: Mapping[str, torch.Tensor], path: Path) -> Tree:
    """Invert ``taken_apart``.

    Raises:
        CheckpointError: the two do not belong together; ``path`` is the checkpoint's in that message.
    """
    try:
        tree: Tree = _decode(body, tensors)
    except _DAMAGE as error:
        raise CheckpointError(
            f"Checkpoint '{path}' is damaged: its tree and its tensors do not go together ({error}). Load another checkpoint."
        ) from error
    return tree


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
    except _DAMAGE as error:
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
