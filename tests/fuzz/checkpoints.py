"""Fuzzing checkpoints: bytes, headers, and trees that a foreign program might have written with a good checksum."""

import json
import struct
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from fuzz.guard import scratch
from fuzz.values import HUGE, JSON, VALUES, damaged, mutated
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load, save

from compiler import compile
from runtime import Learner, fit
from runtime.batches import batches_of
from runtime.checkpoint import FORMAT, KEY, load_tree
from runtime.place import KIND, RunFile
from runtime.tree import CheckpointError, checksum, taken_apart
from wiring import dkp

X, Y = torch.linspace(-1, 1, 72).reshape(12, 6), torch.arange(12) % 4
DATA = torch.utils.data.TensorDataset(X, Y)
NAME = "checkpoint.safetensors"


def _learner() -> Learner:
    torch.manual_seed(0)
    layers = [torch.nn.Linear(6, 5), torch.nn.BatchNorm1d(5), torch.nn.Tanh(), torch.nn.Dropout(0.2), torch.nn.Linear(5, 4)]
    return Learner(compile(torch.nn.Sequential(*layers), dkp(), (X[:4], Y[:4])))


LEARNER = _learner()
OPTIMIZER = torch.optim.Adam(LEARNER.parameters(), 0.01)


def _run_bytes() -> bytes:
    """The checkpoint of a run of two epochs."""
    with TemporaryDirectory() as folder:
        fit(LEARNER, OPTIMIZER, DATA, epochs=2, test=DATA, batch_size=4, folder=Path(folder), progress=False)
        return (Path(folder) / NAME).read_bytes()


GOOD = _run_bytes()
LENGTH = struct.unpack("<Q", GOOD[:8])[0]
HEADER = json.loads(GOOD[8 : 8 + LENGTH])
BODY = GOOD[8 + LENGTH :]
OURS = json.loads(HEADER["__metadata__"][KEY])
NAMES = sorted(name for name in HEADER if name != "__metadata__")
TENSORS = load(GOOD)


def _with_header(header: Any) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + BODY


def _with_ours(ours: Any) -> bytes:
    """With other metadata of errorwire's, as it stands."""
    return _with_header({**HEADER, "__metadata__": {KEY: json.dumps(ours)}})


def _encoded(tree: Any) -> bytes:
    """A checkpoint with a good checksum around any JSON tree."""
    try:
        header = {"format": FORMAT, "kind": KIND, "checksum": checksum(KIND, tree, TENSORS), "tree": tree}
        return save(TENSORS, {KEY: json.dumps(header)})
    except (ValueError, SafetensorError, RecursionError):
        return GOOD[:-1]


@st.composite
def _flipped(draw: st.DrawFn) -> bytes:
    """One bit, in each part of the file with the same chance: length, header, metadata, body."""
    metadata = GOOD.index(b"__metadata__")
    parts = [(0, 8), (8, 8 + LENGTH), (metadata, metadata + 200), (8 + LENGTH, len(GOOD))]
    place = draw(st.integers(*(lambda low, high: (low, high - 1))(*draw(st.sampled_from(parts)))))
    return GOOD[:place] + bytes([GOOD[place] ^ 1 << draw(st.integers(0, 7))]) + GOOD[place + 1 :]


@st.composite
def _claiming(draw: st.DrawFn) -> bytes:
    """A header in which a tensor claims to be another, of terabytes say."""
    name = draw(st.sampled_from(NAMES))
    entry = dict(HEADER[name])
    numbers = st.one_of(st.integers(0, 2**63), st.sampled_from(HUGE))
    key = draw(st.sampled_from(sorted(entry)))
    entry[key] = draw(
        st.one_of(st.lists(numbers, max_size=4), st.sampled_from(["F64", "BF16", "F8_E4M3", "I64", "C64", "X", "BOOL"]), VALUES)
    )
    return _with_header({**HEADER, name: entry})


NODES = st.one_of(
    VALUES,
    st.sampled_from([{"tuple": []}, {"tensor": "none"}, {"float": "zz"}, {"dict": [[1]]}, {"Counter": []}, {"os.system": []}]),
)
BYTES = st.one_of(
    damaged(st.just(GOOD)),
    _flipped(),
    st.integers(0, len(GOOD)).map(lambda length: GOOD[:length]),
    st.binary(max_size=200),
    st.integers(0, 2**64 - 1).map(lambda length: struct.pack("<Q", length) + GOOD[8:]),
    _claiming(),
    mutated(st.just(HEADER), VALUES).map(_with_header),
    mutated(st.just(OURS), NODES).map(_with_ours),
)
FORGED = st.one_of(mutated(st.just(OURS["tree"]), NODES), JSON).map(_encoded)
STRATEGY = st.one_of(st.tuples(BYTES, st.just(False)), st.tuples(FORGED, st.just(True)))


def check(example: tuple[bytes, bool]) -> str:
    """Load a checkpoint, and if that goes well let a run take it up; forged ones have a checksum that fits."""
    data, forged = example
    with scratch() as folder:
        path = folder / NAME
        path.write_bytes(data)
        try:
            tree = load_tree(path, KIND)
        except CheckpointError:
            return "CheckpointError"
        if not forged and data != GOOD:
            assert _encode(tree) == OURS["tree"], "other content passed for what was saved"
        try:
            RunFile(path, LEARNER, OPTIMIZER, None, batches_of(DATA, 4, 0, "train")).load()
        except CheckpointError:
            return "refused by the run"
    return "loaded"


def _encode(tree: Any) -> Any:
    return json.loads(json.dumps(taken_apart(tree, Path())[0]))
