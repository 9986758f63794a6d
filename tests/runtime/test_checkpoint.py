"""Checkpoints: what comes back, what is refused, and what survives a failure."""

import json
import os
import random
import signal
import struct
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch.optim import lr_scheduler

from runtime import checkpoint, tree
from runtime.checkpoint import load_tree, match_tensors, save_tree
from runtime.rng import capture_rng, restore_rng
from runtime.tree import CheckpointError

DTYPES = sorted(tree._DTYPES, key=str)
VIEWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "plain": lambda t: t,
    "transposed": lambda t: t.transpose(0, -1) if t.dim() else t,
    "strided": lambda t: t[..., ::2] if t.dim() else t,
    "expanded": lambda t: t.unsqueeze(0).expand(3, *t.shape),
}


def bits(tensor: torch.Tensor) -> bytes:
    plain = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())
    return plain.reshape(-1).view(torch.uint8).numpy().tobytes()


def same(left: Any, right: Any) -> bool:
    """Equal down to types, order of keys, and the bits of floats and tensors."""
    if type(left) is not type(right):
        return False
    if isinstance(left, torch.Tensor):
        return (left.dtype, left.shape, bits(left)) == (right.dtype, right.shape, bits(right))
    if isinstance(left, dict):
        return same(list(left), list(right)) and same(list(left.values()), list(right.values()))
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float):
        return struct.pack("d", left) == struct.pack("d", right)
    return bool(left == right)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    dtype = draw(st.sampled_from(DTYPES))
    seed = draw(st.integers(0, 2**32 - 1))
    count = int(np.prod(shape)) * dtype.itemsize
    raw = np.random.Generator(np.random.PCG64(seed)).integers(0, 2 if dtype is torch.bool else 256, count, np.uint8)
    plain = torch.empty(count, dtype=torch.uint8).copy_(torch.from_numpy(raw))
    return VIEWS[draw(st.sampled_from(sorted(VIEWS)))](plain.view(dtype).reshape(shape))


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
KEYS = st.one_of(st.text(max_size=8), st.integers(-3, 3), st.sampled_from(["0", "a.b", "a", "b", "__metadata__"]))
TREES = st.recursive(
    st.one_of(SCALARS, tensors()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.dictionaries(KEYS, inner, max_size=2).map(OrderedDict),
    ),
    max_leaves=12,
)


@given(tree=TREES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_tree_comes_back_with_its_types_and_bits(tree: Any, tmp_path: Path) -> None:
    path = tmp_path / "drawn.safetensors"
    save_tree(path, tree, "learner")
    assert same(load_tree(path, "learner"), tree)
    assert os.listdir(tmp_path) == [path.name]


def test_unusual_values_come_back(tmp_path: Path) -> None:
    weight = torch.randn(4, 6, requires_grad=True)
    signalling = struct.unpack("d", struct.pack("Q", 0x7FF0000000000001))[0]
    tree: dict[str, Any] = {
        "shared": [weight, weight, weight.t(), weight[1:3, ::2]],
        "conj": torch.randn(3, dtype=torch.complex64).conj(),
        "neg": torch.randn(3, dtype=torch.complex64).conj().imag,
        "empty": [torch.empty(0), torch.empty(0, 3), {}, [], ()],
        "floats": [float("inf"), -float("inf"), float("nan"), -float("nan"), signalling, -0.0, 5e-324, 0.1, 1e16],
        "ints": [2**63, -(2**2000), True, 1],
        "counter": Counter([3, 3, 5]),
        "keys": {0: torch.ones(1), "0": torch.zeros(1), "0'": torch.full((1,), 2.0)},
        "a.b": torch.ones(2),
        "a": {"b": torch.zeros(2)},
        "text": "é 😀 \0 \x7f",
    }
    save_tree(tmp_path / "c", tree, "run")
    found: Any = load_tree(tmp_path / "c", "run")
    assert same(found, tree)
    found["shared"][0].zero_()
    assert torch.equal(found["shared"][1], weight)


def test_the_same_tree_gives_the_same_bytes_and_leaves_the_generators_alone(tmp_path: Path) -> None:
    tree = {"rng": capture_rng(), "b": torch.ones(2), "a": torch.ones(3)}
    save_tree(tmp_path / "one", tree, "run")
    save_tree(tmp_path / "two", load_tree(tmp_path / "one", "run"), "run")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert same(capture_rng(), tree["rng"])


def endless() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.float64(1.0), "<class 'numpy.float64'>"),
        (np.zeros(2), "<class 'numpy.ndarray'>"),
        (print, "<class 'builtin_function_or_method'>"),
        (lambda: 0, "<class 'function'>"),
        ({1, 2}, "<class 'set'>"),
        (b"x", "<class 'bytes'>"),
        (defaultdict(dict), "<class 'collections.defaultdict'>"),
        (torch.Size([2]), "<class 'torch.Size'>"),
        (torch.nn.Parameter(torch.ones(2)), "<class 'torch.nn.parameter.Parameter'>"),
        (torch.eye(2).to_sparse(), "a tensor of torch.float32, torch.sparse_coo, on cpu"),
        (torch.ones(2, device="meta"), "a tensor of torch.float32, torch.strided, on meta"),
        (torch.ones(2, dtype=torch.complex128), "a tensor of torch.complex128"),
        ({True: 1}, "the key True of <class 'bool'>"),
        ({(0, 1): 1}, "the key (0, 1) of <class 'tuple'>"),
        (2**2048, "huge <class 'int'>"),
        ("\ud800", "<class 'str'> with lone surrogates"),
    ],
)
def test_what_cannot_come_back_is_refused_with_its_place(value: Any, told: str, tmp_path: Path) -> None:
    tree: dict[str, Any] = {"model": torch.ones(2), "optimizer": {"state": ({0: {"exp_avg": value}},)}}
    with pytest.raises(CheckpointError) as caught:
        save_tree(tmp_path / "c", tree, "learner")
    assert f"{tmp_path / 'c'}' cannot hold optimizer.state.0.0.exp_avg: {told}" in str(caught.value)
    assert not os.listdir(tmp_path)


def test_a_tree_that_holds_itself_or_overflows_the_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot hold a\.0\.0.*nested deeper than 100 levels"):
        save_tree(tmp_path / "c", {"a": endless()}, "learner")
    with pytest.raises(CheckpointError, match="header holds 100 MB"):
        save_tree(tmp_path / "c", "x" * 100_000_001, "learner")
    assert not os.listdir(tmp_path)


def failing(error: BaseException) -> Any:
    def fail(*_: Any) -> None:
        raise error

    return fail


@pytest.mark.parametrize("name", ["replace", "fsync"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    name: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c"
    save_tree(path, {"epoch": 1}, "run")
    with monkeypatch.context() as patch:
        patch.setattr(os, name, failing(error))
        with pytest.raises(CheckpointError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
            save_tree(path, {"epoch": 2, "w": torch.ones(1000)}, "run")
    assert "could not be written ([Errno 28]" in str(caught.value) or not isinstance(error, OSError)
    assert os.listdir(tmp_path) == ["c"]
    assert load_tree(path, "run") == {"epoch": 1}


def test_a_folder_that_cannot_be_flushed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_sync_folder", failing(OSError(22, "Invalid argument")))
    with pytest.raises(CheckpointError, match="is written whole, but its folder could not be flushed"):
        save_tree(tmp_path / "c", {"epoch": 2}, "run")
    assert load_tree(tmp_path / "c", "run") == {"epoch": 2}


@pytest.mark.parametrize("where", ["missing/c", "file/c", "folder"])
def test_a_place_that_takes_no_file_is_told(where: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="could not be written"):
        save_tree(tmp_path / where, {}, "run")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.parametrize("name", ["replace", "fsync"])
def test_a_kill_in_the_middle_leaves_the_old_file_whole(name: str, tmp_path: Path) -> None:
    path = tmp_path / "c"
    save_tree(path, {"epoch": 1}, "run")
    code = (
        f"import os, pathlib, torch; from runtime.checkpoint import save_tree\n"
        f"os.{name} = lambda *_: os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
        f"save_tree(pathlib.Path({str(path)!r}), {{'w': torch.ones(10000)}}, 'run')"
    )
    root = Path(checkpoint.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == -signal.SIGKILL
    assert load_tree(path, "run") == {"epoch": 1}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    save_tree(tmp_path / "c", {"w": torch.randn(5, 3), "n": (1, 2.5, float("nan")), "s": torch.ones(())}, "run")
    return tmp_path / "c"


def test_every_truncation_is_told(written: Path) -> None:
    whole = written.read_bytes()
    for length in range(len(whole)):
        written.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="is cut short, damaged, or no safetensors file at all"):
            load_tree(written, "run")


def test_a_flipped_bit_anywhere_never_passes_for_other_content(written: Path) -> None:
    tree, whole = load_tree(written, "run"), written.read_bytes()
    for place in range(len(whole)):
        written.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        try:
            assert same(load_tree(written, "run"), tree)
        except CheckpointError:
            continue


def test_files_of_others_are_told_apart(tmp_path: Path, written: Path) -> None:
    with pytest.raises(CheckpointError, match=r"There is no checkpoint '.*none'"):
        load_tree(tmp_path / "none", "run")
    with pytest.raises(CheckpointError, match="could not be read"):
        load_tree(tmp_path, "run")
    with pytest.raises(CheckpointError, match="holds a 'run', not a 'learner'"):
        load_tree(written, "learner")
    torch.save({"w": torch.ones(2)}, tmp_path / "pickle.pt")
    with pytest.raises(CheckpointError, match="no safetensors file at all"):
        load_tree(tmp_path / "pickle.pt", "run")
    for metadata in (None, {"format": "pt"}):
        save_file({"w": torch.ones(2)}, tmp_path / "foreign", metadata)
        with pytest.raises(CheckpointError, match="is a safetensors file, but no errorwire checkpoint"):
            load_tree(tmp_path / "foreign", "run")
    save_file({}, tmp_path / "newer", {"errorwire": json.dumps({"format": checkpoint.FORMAT + 1, "shape": "new"})})
    with pytest.raises(CheckpointError, match=r"has format 2, .* reads up to 1.* Upgrade errorwire"):
        load_tree(tmp_path / "newer", "run")
    for header in ("[", "[]", "{}", '{"format": "1"}', '{"format": 1}', "[" * 100_000, '{"format": 0, "kind": "run"}'):
        save_file({}, tmp_path / "broken", {"errorwire": header})
        with pytest.raises(CheckpointError, match="damaged"):
            load_tree(tmp_path / "broken", "run")


def test_tensors_of_another_model_are_refused_whole() -> None:
    expected = {"a": torch.ones(2, 3), "b": torch.ones(1), "c": torch.ones(1)}
    match_tensors(expected, {name: torch.zeros_like(tensor) for name, tensor in expected.items()}, Path("c"))
    found = {"a": torch.ones(3, 2)} | {f"x{i}": torch.ones(1) for i in range(5)}
    with pytest.raises(CheckpointError) as caught:
        match_tensors(expected, found, Path("old.ckpt"))
    assert str(caught.value).startswith(
        "Checkpoint 'old.ckpt' does not fit here: 2 missing (b, c); 5 unexpected (x0, x1, x2, ...); "
        "1 wrongly shaped (a [3, 2] where [2, 3] is wanted)."
    )


def draws() -> list[Any]:
    return [torch.randn(3), random.gauss(0, 1), random.random(), float(np.random.randn()), torch.randperm(9)]


def test_random_streams_go_on_where_they_were_captured(tmp_path: Path) -> None:
    draws()  # an odd number of gaussians leaves one in store, in `random` and in numpy
    save_tree(tmp_path / "c", capture_rng(), "rng")
    expected = draws()
    restore_rng(load_tree(tmp_path / "c", "rng"))
    assert same(draws(), expected)


def test_foreign_random_states_change_nothing() -> None:
    before: Any = capture_rng()
    draws()
    now = capture_rng()
    broken: list[dict[str, Any]] = [{"python": (3, (1, 2), None)}, {"cuda": None}, {"numpy": {}}, {"torch": 0}]
    for bad in (None, {}, *(before | part for part in broken)):
        with pytest.raises(CheckpointError, match="random states"):
            restore_rng(bad)
        assert same(capture_rng(), now)


def test_cuda_states_are_captured_once_cuda_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    states, given = [torch.zeros(16, dtype=torch.uint8), torch.ones(16, dtype=torch.uint8)], {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    assert capture_rng()["cuda"] == []  # type: ignore[index, call-overload]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: states)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: given.update({device: state}))
    restore_rng(capture_rng())
    assert given == {0: states[0]}


OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, torch.tensor(0.01)),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, amsgrad=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.9, centered=True),
}
SCHEDULERS: dict[str, Any] = {
    "step": lambda o: lr_scheduler.StepLR(o, 2),
    "multistep": lambda o: lr_scheduler.MultiStepLR(o, [2, 6, 6]),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 10),
    "onecycle": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=20, cycle_momentum=False),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0, threshold=0.5),
    "chain": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LambdaLR(o, lambda e: 0.9**e), lr_scheduler.ExponentialLR(o, 0.5)], [6]
    ),
}


class Training:
    """A small net with dropout, its optimizer and its schedule."""

    def __init__(self, optimizer: str, scheduler: str) -> None:
        self.model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(), torch.nn.Linear(8, 2))
        self.parts = {"model": self.model, "optimizer": OPTIMIZERS[optimizer](self.model.parameters())}
        self.parts["scheduler"] = SCHEDULERS[scheduler](self.parts["optimizer"])

    def steps(self, count: int) -> None:
        for _ in range(count):
            loss = self.model(torch.randn(16, 4)).square().mean()
            self.parts["optimizer"].zero_grad()
            loss.backward()
            self.parts["optimizer"].step()
            plateau = isinstance(self.parts["scheduler"], lr_scheduler.ReduceLROnPlateau)
            self.parts["scheduler"].step(*([loss.item()] if plateau else []))

    def state(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self.parts.items()}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_continues_bit_for_bit(optimizer: str, scheduler: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    straight = Training(optimizer, scheduler)
    straight.steps(5)
    save_tree(tmp_path / "c", {**straight.state(), "rng": capture_rng()}, "run")
    saved = straight.state()["scheduler"]
    straight.steps(5)

    resumed = Training(optimizer, scheduler)
    found: Any = load_tree(tmp_path / "c", "run")
    assert same(found["scheduler"], saved)
    for name, part in resumed.parts.items():
        part.load_state_dict(found[name])
    restore_rng(found["rng"])
    resumed.steps(5)
    assert same(resumed.state(), straight.state())
