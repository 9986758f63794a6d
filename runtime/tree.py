"""Trees of plain values and tensors, taken apart into JSON values and tensors by name, and put together again.

A tree is written as JSON values for None, bool, int, finite float, str and list, and as an object with one key for the rest:
``{"tuple": [...]}``, ``{"dict": [[key, value], ...]}``, ``{"tensor": name}``, ``{"float": hex}``.
"""

import json
import math
import struct
import zlib
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import torch
from safetensors import SafetensorError

from wiring.errors import ErrorwireError

Tree: TypeAlias = (
    "bool | int | float | str | torch.Tensor | Sequence[Tree] | Mapping[str, Tree] | Mapping[int, Tree]"
    " | Mapping[str | int, Tree] | None"
)

DAMAGE = (SafetensorError, ValueError, KeyError, TypeError, IndexError, RecursionError, RuntimeError, MemoryError, struct.error)
"""What reading bytes that nobody of ours wrote may raise."""
_DEEPEST = 100  # levels; further down a tree holds itself, or JSON would run out of stack
_WIDEST = 2048  # bits; Python may be set to refuse decimal numbers of more than 640 digits
_MAPPINGS: dict[str, type[dict[Any, Any]]] = {"dict": dict, "OrderedDict": OrderedDict, "Counter": Counter}
_WHOLE = {torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64}
_WHOLE |= {torch.int8, torch.int16, torch.int32, torch.int64}
_REAL = {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2}
_DTYPES = _WHOLE | _REAL | {torch.complex64}


class CheckpointError(ErrorwireError):
    """A checkpoint cannot be written, read, or put to use here."""


@dataclass
class Encoder:
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
        self.tensors[name] = own_copy(tensor)
        return name

    def _refuse(self, at: tuple[str | int, ...], what: str) -> NoReturn:
        raise CheckpointError(
            f"Checkpoint '{self.path}' cannot hold {_place(at)}: {what}. It holds plain dense tensors (detach() a "
            f"Parameter) and None, bool, int, float, str in lists, tuples and dicts with str or int keys: convert it. "
            f"Nothing was written."
        )


def _place(at: tuple[str | int, ...]) -> str:
    return ".".join(map(str, at)) or "tree"


def own_copy(tensor: torch.Tensor) -> torch.Tensor:
    """A copy on the CPU, contiguous, with storage of its own; bits as in ``tensor``, whatever it is a view of."""
    return torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())


def decode(node: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """Invert `Encoder.encode`; ValueError, KeyError and the like where ``node`` is nothing that it wrote."""
    if isinstance(node, list):
        return [decode(item, tensors) for item in node]
    if not isinstance(node, dict):
        return node
    ((tag, content),) = node.items()
    if tag in _MAPPINGS:
        return _MAPPINGS[tag]({decode(key, tensors): decode(item, tensors) for key, item in content})
    if tag == "tuple":
        return tuple(decode(item, tensors) for item in content)
    if tag == "tensor":
        return tensors[content]
    if tag == "float":
        return struct.unpack(">d", bytes.fromhex(content))[0]
    raise ValueError(f"unknown tag {tag!r}")


def checksum(kind: str, tree: Any, tensors: Mapping[str, torch.Tensor]) -> int:
    """CRC-32 over the JSON tree and the bytes of all tensors: safetensors itself notices only a wrong length."""
    total = zlib.crc32(json.dumps([kind, tree], allow_nan=False).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), total)
        total = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, total)
    return total


def taken_apart(tree: Tree, path: Path) -> tuple[Any, dict[str, torch.Tensor]]:
    """A tree as JSON values, and copies of its tensors on the CPU by name: for those who keep the two in different files.

    Raises:
        CheckpointError: the tree holds what no file can; ``path`` is the checkpoint's in that message.
    """
    encoder = Encoder(path)
    return encoder.encode(tree), encoder.tensors


def put_together(body: Any, tensors: Mapping[str, torch.Tensor], path: Path) -> Tree:
    """Invert ``taken_apart``.

    Raises:
        CheckpointError: the two do not belong together; ``path`` is the checkpoint's in that message.
    """
    try:
        tree: Tree = decode(body, tensors)
    except DAMAGE as error:
        raise CheckpointError(
            f"Checkpoint '{path}' is damaged: its tree and its tensors do not go together ({error}). Load another checkpoint."
        ) from error
    return tree
