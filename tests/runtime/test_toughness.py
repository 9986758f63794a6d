"""Runs that are killed or terminated at chosen places, and go on to the bit (`make kills` does so at hundreds of random moments)."""

import csv
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from toughness_case import CHECKPOINT, Training, die, in_child, state
from typer.testing import CliRunner

import runtime.jobs
from compiler import verify
from compiler.errors import ScheduleError
from compiler.files import TEMPORARY
from runtime import BackendError, metrics
from runtime import run as run_module
from runtime.claim import LOCK
from runtime.cli import app
from runtime.interruption import Terminated


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The state of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("straight")
    Training().fit(folder)
    return state(folder)


def resumed(folder: Path, begun: bool = True) -> dict[str, Any]:
    """Go on with a run to its end; its files are then as after a run in one go."""
    Training(seed=1 if begun else 0).fit(folder, resume=begun)
    with (folder / "metrics.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    assert not [path.name for path in folder.iterdir() if TEMPORARY.fullmatch(path.name) or path.name == LOCK]
    return state(folder)


def calls(
    holder: Any, name: str, at: int, before: Callable[..., object] = lambda *_: None, after: Callable[[], object] = int
) -> None:
    """From now on call number ``at`` of a function does something ``before`` it, or ``after`` it."""
    original, count = getattr(holder, name), iter(range(1, 10_000))

    def counted(*args: Any, **keywords: Any) -> Any:
        due = next(count) == at
        if due:
            before(*args)
        result = original(*args, **keywords)
        if due:
            after()
        return result

    setattr(holder, name, counted)


def tear(descriptor: int) -> None:
    os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
    die()


KILLS: dict[str, Callable[[Training], None]] = {
    "in a step": lambda run: calls(run.learner, "learn", 8, lambda *_: die()),
    "behind an update": lambda run: calls(run.optimizer, "step", 5, after=die),
    "in the middle of writing a checkpoint": lambda run: calls(os, "fsync", 6, tear),
    "before a checkpoint is in place": lambda run: calls(os, "replace", 5, lambda *_: die()),
    "when a checkpoint is in place": lambda run: calls(os, "replace", 5, after=die),
    "when the earlier one has its name": lambda run: calls(os, "link", 2, after=die),
    "before a row of metrics": lambda run: calls(metrics.MetricsFile, "append", 2, lambda *_: die()),
    "before the first checkpoint": lambda run: calls(os, "fsync", 1, tear),
}


@pytest.mark.parametrize("place", KILLS)
def test_a_killed_run_goes_on_to_the_bit(place: str, straight: dict[str, Any], tmp_path: Path) -> None:
    def work() -> None:
        run = Training()
        KILLS[place](run)
        run.fit(tmp_path)

    assert os.WTERMSIG(in_child(work)) == signal.SIGKILL
    assert resumed(tmp_path, (tmp_path / CHECKPOINT).exists()) == straight


def test_tensorboard_shows_every_epoch_once_after_a_kill(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def work() -> None:
        calls(metrics.Board, "append", 1, lambda *_: die())
        Training().fit(tmp_path, checkpoint_every=None)

    assert os.WTERMSIG(in_child(work)) == signal.SIGKILL
    time.sleep(1.1)  # TensorBoard orders its files by the second
    Training().fit(tmp_path, resume=True)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("train_loss")] == [1, 2]


# -------------------------------------------------------------- SIGTERM


def ask(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


ASKED: dict[str, tuple[Callable[[Training], tuple[Any, str, int]], str]] = {
    "in a step": (lambda run: (run.learner, "learn", 4), "epoch 1 behind step 4"),
    "in an update": (lambda run: (run.optimizer, "step", 4), "epoch 1 behind step 4"),
    "in a test": (lambda run: (run_module, "evaluate", 1), "epoch 1 behind step 5"),
    "while data are fetched": (lambda run: (run_module, "moved", 3), "epoch 1 behind step 2"),
    "while a checkpoint is written": (lambda run: (os, "fsync", 5), "epoch 1 behind step 3"),
}


@pytest.mark.parametrize("place", ASKED)
def test_sigterm_finishes_the_step_saves_and_says_how_to_go_on(
    place: str, straight: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Training()
    find, where = ASKED[place]
    holder, name, at = find(run)
    with monkeypatch.context() as patch:
        patch.setattr(holder, name, getattr(holder, name))
        calls(holder, name, at, ask)
        with pytest.raises(Terminated) as caught:
            run.fit(tmp_path)
    assert caught.value.code == 143
    assert capsys.readouterr().err == (
        f"Terminated at {where}. The last good state, {where}, lies in '{tmp_path / CHECKPOINT}'. To go on, pass resume=True.\n"
    )
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert resumed(tmp_path) == straight


def test_a_second_sigterm_ends_the_process_at_once(straight: dict[str, Any], tmp_path: Path) -> None:
    def work() -> None:
        run = Training()
        calls(run.optimizer, "step", 4, lambda *_: (ask(), ask()))
        run.fit(tmp_path)

    assert os.WTERMSIG(in_child(work)) == signal.SIGTERM
    assert resumed(tmp_path) == straight


def test_a_sigterm_that_a_destructor_swallows_is_heard_at_the_next_step(tmp_path: Path) -> None:
    class Falling:
        def __del__(self) -> None:
            ask()
            sum(range(1000))

    run = Training()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "moved", run_module.moved)
        calls(run_module, "moved", 3, lambda *_: Falling().__class__)
        patch.setattr("sys.unraisablehook", lambda _: None)
        with pytest.raises(Terminated) as caught:
            run.fit(tmp_path)
    assert "Terminated at epoch 1 behind step 3." in caught.value.__notes__[0]


def test_who_handles_sigterm_himself_is_asked(tmp_path: Path) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        run = Training()
        run.learner.learn, learn = (lambda x, y: (ask(), learn(x, y))[1]), run.learner.learn  # type: ignore[method-assign, misc]
        history = run.fit(tmp_path, epochs=1)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM] * 5
    assert len(history.epochs) == 1


QUICK = [
    "train",
    "--model",
    "mlp:width=4,depth=1",
    "--wiring",
    "dfa",
    "--limit",
    "64",
    "--epochs",
    "1",
    "--folder",
    "one",
    "--no-watch",
]


@pytest.mark.parametrize("place", ["learner", "fit"])
def test_the_command_ends_with_143_and_says_what_there_is(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if place == "learner":
        monkeypatch.setattr(runtime.jobs.Job, "learner", ask)
        told = "Terminated: there is no checkpoint yet."
    else:
        monkeypatch.setattr(torch.optim.Adam, "step", torch.optim.Adam.step)
        calls(torch.optim.Adam, "step", 1, ask)
        told = "Terminated: the checkpoint lies in 'one/checkpoint.safetensors'. The same command with --folder one --resume goes on from it."
    result = CliRunner().invoke(app, [*QUICK, "--checkpoint-every", "1"])
    assert (result.exit_code, result.stderr.strip()) == (143, told)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_wrong_arguments_are_told_by_name() -> None:
    learner = Training().learner
    with pytest.raises(ScheduleError, match=r"streams='2' is a str\. Give a whole number from 1 to 256"):
        learner.program.schedule("2")  # type: ignore[arg-type]
    with pytest.raises(ScheduleError, match=r"A str cannot be verified\. Give a Schedule; Schedule\.parse\(text\) reads one"):
        verify(learner.program, "0 launch forward:1")  # type: ignore[arg-type]
    with pytest.raises(BackendError, match=r"A NoneType cannot be included in a step\. Give an optimiser"):
        learner.include(None)  # type: ignore[arg-type]
