"""Disks that refuse, folders that are taken, checkpoints that are damaged: a named error, and the last good state intact."""

import errno
import os
import shutil
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from toughness_case import CHECKPOINT, Training, in_child, state
from training_case import raising

from runtime import TrainingError, claim
from runtime.checkpoint import previous_of, save_tree
from runtime.claim import LOCK, claimed
from runtime.files import FileError, write_whole
from runtime.metrics import MetricsFile
from runtime.tree import CheckpointError

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    Training().fit(folder)
    return folder


# -------------------------------------------------------------- a disk that refuses


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_stops_the_run_and_keeps_its_last_state(
    call: str, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, call, raising(FULL, 6, getattr(os, call)))
        with pytest.raises(
            CheckpointError, match=r"could not be written \(\[Errno 28\] No space left on device\)\. Choose a folder"
        ):
            Training().fit(tmp_path)
    Training(1).fit(tmp_path, resume=True)
    assert state(tmp_path) == state(finished)


def test_a_row_that_does_not_fit_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = Training().fit(tmp_path)
    file = MetricsFile(tmp_path / "metrics.csv", history.epochs)
    before = (tmp_path / "metrics.csv").read_bytes()

    def work() -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 7, -1))
        with pytest.raises(FileError, match=r"metrics\.csv' cannot be written \(No space left on device\)"):
            file.append(history.last)

    assert in_child(work) == 0
    assert (tmp_path / "metrics.csv").read_bytes() == before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # TensorBoard's thread finds no folder either
def test_a_folder_that_goes_away_is_told(tmp_path: Path) -> None:
    folder, run = tmp_path / "run", Training()
    learn = run.learner.learn
    run.learner.learn = lambda x, y: (shutil.rmtree(folder, ignore_errors=True), learn(x, y))[1]  # type: ignore[method-assign]
    with pytest.raises(CheckpointError, match="No such file or directory"):
        run.fit(folder)


def test_a_folder_that_may_not_be_written_to_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim.os, "open", raising(OSError(errno.EROFS, os.strerror(errno.EROFS)), 1, os.open))
    with pytest.raises(TrainingError, match=r"cannot be written to \(Read-only file system\)\. Choose a folder with room"):
        Training().fit(tmp_path)
    assert not list(tmp_path.iterdir())


def test_names_that_no_file_can_have_are_told(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="embedded null byte"):
        write_whole(tmp_path / "a\0b", "x")
    with pytest.raises(TrainingError, match="cannot be made"):
        Training().fit(Path("a\0b"))


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (tmp_path / "precious").write_text("precious")
    for name in ("metrics.csv", "checkpoint.previous.safetensors"):
        (folder / name).symlink_to(tmp_path / "precious")
    Training().fit(folder)
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (folder / "metrics.csv").is_symlink()


# -------------------------------------------------------------- a checkpoint that is damaged


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    path.unlink()
    if how == "a folder":
        path.mkdir()
    elif how == "a pipe":
        os.mkfifo(path)
    elif how == "of another kind":
        save_tree(path, {"w": torch.ones(2)}, "learner")
    else:
        flipped = bytearray(content)
        flipped[{"length": 2, "header": 30, "body": -40}.get(how, 0)] ^= 4
        path.write_bytes({"empty": b"", "cut": content[: len(content) // 2]}.get(how, bytes(flipped)))


@pytest.mark.parametrize("how", ["empty", "cut", "length", "header", "body", "a folder", "a pipe", "of another kind"])
def test_a_damaged_checkpoint_is_told_with_the_one_before_it(how: str, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    path, older = folder / CHECKPOINT, previous_of(folder / CHECKPOINT)
    damage(path, how)
    with pytest.raises(CheckpointError) as caught:
        Training().fit(folder, resume=True)
    assert f"The checkpoint before it, '{older}', is whole: copy it to '{path}' and resume to go on from there." in str(
        caught.value
    )
    content = older.read_bytes()
    older.write_bytes(b"")
    with pytest.raises(CheckpointError) as caught:
        Training().fit(folder, resume=True)
    assert "The checkpoint before it" not in str(caught.value)
    if how == "cut":
        path.write_bytes(content)
        Training(1).fit(folder, resume=True)
        assert state(folder) == state(finished)


# -------------------------------------------------------------- a folder that is taken


def test_a_folder_is_one_process_s_at_a_time(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with claimed(tmp_path):
            os.write(writing, b"x")
            time.sleep(60)
    os.read(reading, 1)
    with pytest.raises(TrainingError) as caught:
        Training().fit(tmp_path)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    told = f"The folder '{tmp_path}' is in use by process {child} on host '{socket.gethostname()}', since '20"
    assert str(caught.value).startswith(told)
    assert (tmp_path / LOCK).exists()
    Training().fit(tmp_path)  # the lock of the dead does not hold
    assert not (tmp_path / LOCK).exists()


def test_a_folder_is_one_thread_s_and_may_be_claimed_twice_by_it(tmp_path: Path) -> None:
    told: list[str] = []

    def other() -> None:
        try:
            with claimed(tmp_path / "." / "run"):
                pass
        except TrainingError as error:
            told.append(str(error))

    with (
        claimed(tmp_path / "run"),
        claimed(
            tmp_path / "run" / "..",
        ),
        claimed(tmp_path / "run"),
    ):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert "is in use by another thread of this process." in told[0]
    assert not (tmp_path / "run").exists()  # made for nothing


@pytest.mark.parametrize("content", ["", "{", '{"process": "x"}', "[" * 5000])
def test_whatever_a_lock_file_says_is_no_traceback(content: str, tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(content)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with claimed(tmp_path):
            descriptor = claim._held[tmp_path].descriptor  # to open and close the file would give the lock up
            os.ftruncate(descriptor, 0)
            os.write(descriptor, content.encode())
            os.write(writing, b"x")
            time.sleep(60)
    os.read(reading, 1)
    try:
        with pytest.raises(TrainingError, match="is in use by another process"), claimed(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_only_our_temporary_files_are_cleared(tmp_path: Path) -> None:
    stray, others = f".errorwire-{'0' * 16}.tmp", [".errorwire-x.tmp", "a.tmp", f"errorwire-{'0' * 16}.tmp"]
    for name in (stray, *others):
        (tmp_path / name).touch()
    with claimed(tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir() if path.name != LOCK) == sorted(others)


def test_where_the_disk_has_no_locks_runs_go_on_unguarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(claim.fcntl, "lockf", refused)
    with claimed(tmp_path):
        pass
