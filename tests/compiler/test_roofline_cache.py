"""The cache of measured cost models: read back unchanged, mended where it is damaged, done without where none can be written."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from compiler.errors import CompileError
from compiler.measuring import Measured
from compiler.roofline import Roofline, roofline
from compiler.work import Rate

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The module, knowing nothing yet, with a cache folder of its own."""
    found = importlib.import_module("compiler.roofline")
    monkeypatch.setattr(found, "_known", {})
    monkeypatch.setenv("ERRORWIRE_CACHE", str(tmp_path / "cache"))
    return found


@pytest.fixture
def measurements(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> list[tuple[torch.device, int]]:
    """What was measured so far; nothing is in truth."""
    calls: list[tuple[torch.device, int]] = []

    def pretend(device: torch.device, threads: int) -> Measured:
        calls.append((device, threads))
        return Measured({"elementwise": Rate(bytes=1e9 / 3), "matmul float32": Rate(flops=1e11, bytes=7e9)}, 1e-6 / 7, 2e-5)

    monkeypatch.setattr(module, "measure", pretend)
    return calls


def cached(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "cache").iterdir()
    return path


def test_a_device_is_measured_once_and_read_back_unchanged(
    measurements: list[Any], module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = roofline("cpu", threads=1)
    assert roofline(CPU, threads=1) is first
    monkeypatch.setattr(module, "_known", {})  # as another process
    assert roofline("cpu", threads=1) == first
    assert measurements == [(CPU, 1)]
    assert cached(tmp_path).name.startswith("roofline-")
    assert cached(tmp_path).name.endswith(f"-1-{torch.__version__}.json")
    assert first.threads == 1
    assert first.version == torch.__version__


def test_threads_are_those_of_torch_and_each_number_is_measured(measurements: list[Any]) -> None:
    now = torch.get_num_threads()
    assert roofline("cpu").threads == now
    assert roofline("cpu", threads=now + 1).threads == now + 1
    assert measurements == [(CPU, now), (CPU, now + 1)]


@pytest.mark.parametrize("content", ["", "no json", "[]", "{}", '{"device": 3}', "\udcff"])
def test_a_damaged_file_is_measured_again_and_mended(
    content: str, measurements: list[Any], module: ModuleType, tmp_path: Path
) -> None:
    good = roofline("cpu", threads=1)
    path = cached(tmp_path)
    path.write_bytes(content.encode(errors="surrogateescape"))
    module._known.clear()
    assert roofline("cpu", threads=1) == good
    assert len(measurements) == 2
    assert Roofline.model_validate_json(path.read_text()) == good
    assert cached(tmp_path) == path  # and no temporary file beside it


@pytest.mark.parametrize(
    "other", [{"device": "another"}, {"threads": 2}, {"version": "1.0"}, {"suite": 0}, {"launch": -1}, {"unknown": 1}]
)
def test_a_foreign_file_is_measured_again(
    other: dict[str, Any], measurements: list[Any], module: ModuleType, tmp_path: Path
) -> None:
    good = roofline("cpu", threads=1)
    path = cached(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | other))
    module._known.clear()
    assert roofline("cpu", threads=1) == good
    assert len(measurements) == 2


def test_where_no_file_can_be_written_each_process_measures_once(
    measurements: list[Any], module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file, not a folder")
    monkeypatch.setenv("ERRORWIRE_CACHE", str(blocked / "cache"))
    assert roofline("cpu", threads=1) is roofline("cpu", threads=1)
    assert len(measurements) == 1
    module._known.clear()
    roofline("cpu", threads=1)
    assert len(measurements) == 2
    assert blocked.read_text() == "a file, not a folder"


def test_without_a_folder_of_its_own_the_cache_is_the_users(
    measurements: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ERRORWIRE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    roofline("cpu", threads=1)
    assert len(list((tmp_path / "xdg" / "errorwire").iterdir())) == 1
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    roofline("cpu", threads=1)
    assert len(list((tmp_path / ".cache" / "errorwire").iterdir())) == 1


@pytest.mark.parametrize("device", ["cpus", "meta", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(measurements: list[Any], device: str) -> None:
    with pytest.raises(CompileError, match=f"^Device '{device}' cannot be measured .*Take 'cpu' or a device that torch sees here"):
        roofline(device)
    assert measurements == []


def test_less_than_one_thread_is_refused() -> None:
    with pytest.raises(CompileError, match=r"^An operator cannot run on 0 threads\. Ask for 1 or more"):
        roofline("cpu", threads=0)
