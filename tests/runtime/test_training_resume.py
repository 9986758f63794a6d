"""Runs that are stopped and go on: the same to the bit as those that nothing stopped."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler
from torch.utils.data import DataLoader, TensorDataset
from training_case import BATCHES, DATA, SIZE, Noisy, flat, fresh, optimizer_of, raising, rows, timeless

from compiler import compile
from runtime import History, Learner, fit
from runtime import run as run_module
from runtime.checkpoint import load_tree
from runtime.metrics import EpochMetrics
from runtime.rng import capture_rng
from wiring import Wiring, bp, drtp, kp, rec_lra

EPOCHS = 3
WIRINGS: dict[str, Callable[[], Wiring]] = {"kp": kp, "rec_lra": partial(rec_lra, gap=1)}
SOURCES: dict[str, Callable[[], Any]] = {
    "split": lambda: DATA.train,
    "dataset": Noisy,
    "loader": lambda: DataLoader(Noisy(), batch_size=SIZE, shuffle=True),
    "generator": lambda: DataLoader(
        TensorDataset(DATA.train.x, DATA.train.y), batch_size=SIZE, shuffle=True, generator=torch.Generator().manual_seed(4)
    ),
}


@dataclass
class Setting:
    """One process's worth of a run; ``seed`` differs between processes, the run must not."""

    wiring: str = "kp"
    source: str = "split"
    seed: int = 0
    learner: Learner = field(init=False)
    optimizer: Optimizer = field(init=False)
    scheduler: LRScheduler = field(init=False)

    def __post_init__(self) -> None:
        self.learner = fresh(WIRINGS[self.wiring](), self.seed, rich=True)
        self.optimizer = Adam(self.learner.parameters(), lr=0.01)
        self.scheduler = CosineAnnealingLR(self.optimizer, EPOCHS)
        torch.manual_seed(self.seed + 100)

    def fit(self, folder: Path | None, resume: bool = False, **options: Any) -> History:
        given: dict[str, Any] = {"epochs": EPOCHS, "test": DATA.test, "batch_size": SIZE, "progress": False, "clip_norm": 5.0}
        return fit(
            self.learner, self.optimizer, SOURCES[self.source](), scheduler=self.scheduler, folder=folder, resume=resume,
            **{**given, **options},
        )  # fmt: skip

    def state(self) -> dict[str, Any]:
        parts = {"learner": self.learner, "optimizer": self.optimizer, "scheduler": self.scheduler}
        return {name: flat(part.state_dict()) for name, part in parts.items()} | {"rng": flat(capture_rng())}


def interrupted(setting: Setting, at: int, folder: Path, error: BaseException | None = None, **options: Any) -> BaseException:
    """Run ``setting`` until its step ``at`` (from 1) raises."""
    error = error or KeyboardInterrupt()
    setting.learner.learn = raising(error, at, setting.learner.learn)  # type: ignore[method-assign]
    with pytest.raises(type(error)) as caught:
        setting.fit(folder, **options)
    return caught.value


@pytest.fixture(scope="module")
def straight() -> Callable[[str, str], tuple[dict[str, Any], History]]:
    """State and history of runs that nothing interrupted."""
    known: dict[tuple[str, str], tuple[dict[str, Any], History]] = {}

    def run(wiring: str, source: str) -> tuple[dict[str, Any], History]:
        if (wiring, source) not in known:
            setting = Setting(wiring, source)
            history = setting.fit(None)
            known[wiring, source] = setting.state(), history
        return known[wiring, source]

    return run


Straight = Callable[[str, str], tuple[dict[str, Any], History]]
STOPS = [("kp", "split"), ("rec_lra", "split"), ("kp", "dataset"), ("kp", "loader"), ("rec_lra", "generator")]
PLACES = {
    1: "the start", 3: "epoch 1 behind step 2", BATCHES + 1: "the end of epoch 1", 2 * BATCHES: f"epoch 2 behind step {BATCHES - 1}",
}  # fmt: skip


@pytest.mark.parametrize(("wiring", "source"), STOPS)
def test_a_run_resumed_again_and_again_is_the_same_run_to_the_bit(
    wiring: str, source: str, straight: Straight, tmp_path: Path
) -> None:
    state, wanted = straight(wiring, source)
    done = 0
    for turn, (stop, place) in enumerate(PLACES.items()):
        error = interrupted(Setting(wiring, source, turn % 2), stop - done, tmp_path, resume=turn > 0)
        assert error.__notes__ == [
            f"Interrupted at {place}. The last good state, {place}, lies in '{tmp_path / 'checkpoint.safetensors'}'. "
            "To go on, pass resume=True."
        ]
        done = stop - 1
    last = Setting(wiring, source, 1)
    history = last.fit(tmp_path, resume=True)
    assert timeless(history) == timeless(wanted)
    assert last.state() == state


def test_another_process_goes_on_to_the_bit(straight: Straight, tmp_path: Path) -> None:
    wiring, source = "rec_lra", "generator"
    interrupted(Setting(wiring, source), BATCHES + 3, tmp_path)
    code = f"""if True:
        import sys, torch, pathlib
        torch.set_num_threads({torch.get_num_threads()})
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_training_resume import Setting
        Setting({wiring!r}, {source!r}, 1).fit(pathlib.Path({str(tmp_path)!r}), resume=True)
    """
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": "1"}, check=True)
    tree: Any = load_tree(tmp_path / "checkpoint.safetensors", "run")
    state, wanted = straight(wiring, source)
    assert {"rng": flat(tree["place"]["rng"])} | {name: flat(tree[name]) for name in state if name != "rng"} == state
    assert timeless(History(tuple(EpochMetrics(**row) for row in tree["history"]))) == timeless(wanted)


def test_a_crash_goes_back_to_the_last_checkpoint_and_doubles_no_row(straight: Straight, tmp_path: Path) -> None:
    interrupted(Setting(), 13, tmp_path, RuntimeError("power cut"), checkpoint_every=4)
    assert [row["step"] for row in rows(tmp_path)] == ["5", "10"]
    again = Setting(seed=1)
    interrupted(again, 3, tmp_path, RuntimeError("another"), checkpoint_every=4, resume=True)  # at step 12, two behind
    assert [row["step"] for row in rows(tmp_path)] == ["5", "10"]
    last = Setting()
    history = last.fit(tmp_path, resume=True, checkpoint_every=4)
    state, wanted = straight("kp", "split")
    assert (last.state(), timeless(history)) == (state, timeless(wanted))
    assert [row["step"] for row in rows(tmp_path)] == ["5", "10", "15"]


def test_an_interrupted_validation_is_repeated(straight: Straight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "evaluate", raising(KeyboardInterrupt(), 2, run_module.evaluate))
        with pytest.raises(KeyboardInterrupt):
            Setting().fit(tmp_path)
    again = Setting(seed=1)
    history = again.fit(tmp_path, resume=True)
    assert (again.state(), timeless(history)) == (straight("kp", "split")[0], timeless(straight("kp", "split")[1]))


@pytest.fixture
def keyboard() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("keyboard")
@pytest.mark.parametrize("phase", ["learn", "update", "fetch"])
def test_ctrl_c_waits_for_the_end_of_a_step(phase: str, straight: Straight, tmp_path: Path) -> None:
    setting = Setting(source="dataset")
    wrapped: dict[str, tuple[Any, str]] = {
        "learn": (setting.learner, "learn"), "update": (setting.optimizer, "step"), "fetch": (Noisy, "__getitem__"),
    }  # fmt: skip
    holder, name = wrapped[phase]
    original = getattr(holder, name)
    at = 3 * SIZE + 5 if phase == "fetch" else 3
    calls = iter(range(1, 10_000))

    def press(*args: Any) -> Any:
        if next(calls) == at:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(holder, name, press)
        with pytest.raises(KeyboardInterrupt) as caught:
            setting.fit(tmp_path)
    assert "Interrupted at epoch 1 behind step 3." in caught.value.__notes__[0]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = Setting(source="dataset", seed=1)
    history = again.fit(tmp_path, resume=True)
    assert (again.state(), timeless(history)) == (straight("kp", "dataset")[0], timeless(straight("kp", "dataset")[1]))


@pytest.mark.usefixtures("keyboard")
def test_a_second_ctrl_c_stops_a_step_and_keeps_no_torn_state(tmp_path: Path) -> None:
    learner = fresh()
    optimizer = Adam(learner.parameters())
    original, calls = learner.learn, iter(range(1, 100))

    def hanging(x: Any, y: Any) -> Any:
        for _ in range(2 * (next(calls) == 7)):
            os.kill(os.getpid(), signal.SIGINT)
        return original(x, y)

    learner.learn = hanging  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(learner, optimizer, DATA.train, epochs=2, batch_size=SIZE, folder=tmp_path, progress=False)
    assert "Interrupted at epoch 2 behind step 1. The last good state, the end of epoch 1, lies in" in caught.value.__notes__[0]


def test_a_finished_run_can_be_made_longer_and_a_longer_one_is_left_alone(tmp_path: Path) -> None:
    def run(folder: Path, epochs: int, resume: bool) -> tuple[dict[str, Any], History]:
        learner = fresh(drtp())
        optimizer = SGD(learner.parameters(), lr=0.1, momentum=0.9)
        history = fit(learner, optimizer, DATA.train, epochs=epochs, folder=folder, resume=resume, progress=False)
        return flat(learner.state_dict()), history

    straight = run(tmp_path / "straight", 3, False)
    run(tmp_path / "longer", 2, False)
    longer = run(tmp_path / "longer", 3, True)
    assert longer[0] == straight[0]
    assert timeless(longer[1]) == timeless(straight[1])
    again = run(tmp_path / "longer", 1, True)
    assert (again[0], len(again[1].epochs)) == (straight[0], 3)
    assert len(rows(tmp_path / "longer")) == 3


def test_buffers_outside_the_state_dict_come_back(tmp_path: Path) -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(64, 10)
            self.register_buffer("seen", torch.zeros(()), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            self.seen.add_(1)
            return self.out(x.flatten(1)) / self.seen

    def build() -> Learner:
        return Learner(compile(Counting(), bp(), (DATA.train.x[:SIZE], DATA.train.y[:SIZE])))

    learner = build()
    seen = dict(learner.named_buffers())["model.seen"]
    fit(learner, optimizer_of(learner), DATA.train, epochs=1, batch_size=SIZE, folder=tmp_path, progress=False)
    assert seen.item() == BATCHES
    again = build()
    fit(again, optimizer_of(again), DATA.train, epochs=1, batch_size=SIZE, folder=tmp_path, resume=True, progress=False)
    assert dict(again.named_buffers())["model.seen"].item() == BATCHES
