"""fit: learning, metrics, checkpoints, runs that go on bit for bit, and every refusal."""

import csv
import os
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Adam, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from compiler import compile
from runtime import History, Learner, NonFiniteLoss, TrainingError, fit
from runtime import metrics as metrics_module
from runtime import run as run_module
from runtime.batches import batches_of
from runtime.checkpoint import CheckpointError, capture_rng, load_tree, save_tree
from runtime.data import Split, load_data
from runtime.measures import Sums, hits
from runtime.progress import Bar, display
from wiring import Wiring, bp, dfa, drtp, kp, rec_lra

DATA = load_data("digits", limit=70)
SIZE = 16  # 70 samples: four batches and a smaller one
BATCHES, EPOCHS = 5, 3
WIRINGS: dict[str, Callable[[], Wiring]] = {"kp": kp, "rec_lra": partial(rec_lra, gap=1)}


class Noisy(Dataset[tuple[Tensor, Tensor]]):
    """Samples with noise from the global generator: augmentation."""

    def __len__(self) -> int:
        return len(DATA.train.x)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        return DATA.train.x[place] + 0.1 * torch.randn(1, 8, 8), DATA.train.y[place]


SOURCES: dict[str, Callable[[], Any]] = {
    "split": lambda: DATA.train,
    "dataset": Noisy,
    "loader": lambda: DataLoader(Noisy(), batch_size=SIZE, shuffle=True),
    "generator": lambda: DataLoader(
        TensorDataset(DATA.train.x, DATA.train.y), batch_size=SIZE, shuffle=True, generator=torch.Generator().manual_seed(4)
    ),
}


def network(seed: int = 0, width: int = 16) -> nn.Sequential:
    torch.manual_seed(seed)
    hidden = nn.Linear(64, width), nn.BatchNorm1d(width), nn.Tanh(), nn.Dropout(0.2)
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(width, 12), nn.Tanh(), nn.Linear(12, 10))


def plain_learner(wiring: Wiring | None = None, seed: int = 0) -> Learner:
    """Without batch norm and dropout: compiled in a blink."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))
    return Learner(compile(model, wiring or dfa(), (DATA.train.x[:SIZE], DATA.train.y[:SIZE])), seed=seed)


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
        example = DATA.train.x[:SIZE], DATA.train.y[:SIZE]
        self.learner = Learner(compile(network(self.seed), WIRINGS[self.wiring](), example), seed=self.seed)
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


def flat(tree: Any, at: str = "") -> dict[str, Any]:
    """A tree's leaves by place, tensors and floats as their bits."""
    if isinstance(tree, dict | list | tuple):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {name: leaf for key, value in items for name, leaf in flat(value, f"{at}.{key}").items()}
    if isinstance(tree, Tensor):
        return {at: (tree.dtype, tree.shape, tree.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())}
    return {at: struct.pack("d", tree) if isinstance(tree, float) else tree}


def timeless(history: History) -> list[dict[str, Any]]:
    rows = [flat(asdict(row)) for row in history.epochs]
    return [{name: value for name, value in row.items() if "second" not in name} for row in rows]


def raising(error: BaseException, at: int, wrapped: Callable[..., Any]) -> Callable[..., Any]:
    """``wrapped``, but call number ``at`` (from 1) raises before it begins."""
    calls = iter(range(1, 1000))

    def call(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == at:
            raise error
        return wrapped(*args, **kwargs)

    return call


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


@pytest.mark.parametrize(("wiring", "source"), STOPS)
@pytest.mark.parametrize("stop", [1, BATCHES + 1, BATCHES + 3], ids=["start", "boundary", "middle"])
def test_a_run_resumed_elsewhere_is_the_same_run_to_the_bit(
    wiring: str, source: str, stop: int, straight: Straight, tmp_path: Path
) -> None:
    error = interrupted(Setting(wiring, source), stop, tmp_path)
    place = {1: "the start", BATCHES + 1: "the end of epoch 1", BATCHES + 3: "epoch 2 behind step 2"}[stop]
    assert error.__notes__ == [
        f"Interrupted at {place}. The last good state, {place}, lies in '{tmp_path / 'checkpoint.safetensors'}'. "
        "To go on, pass resume=True."
    ]
    other = Setting(wiring, source, seed=7)
    history = other.fit(tmp_path, resume=True)
    state, wanted = straight(wiring, source)
    assert timeless(history) == timeless(wanted)
    assert other.state() == state


def test_a_crash_goes_back_to_the_last_checkpoint_and_doubles_no_row(straight: Straight, tmp_path: Path) -> None:
    interrupted(Setting(), 13, tmp_path, RuntimeError("power cut"), checkpoint_every=4)
    assert [row["step"] for row in rows(tmp_path)] == ["5", "10"]
    again = Setting(seed=1)
    interrupted(again, 3, tmp_path, RuntimeError("another"), checkpoint_every=4, resume=True)  # at step 12, two behind
    assert [row["step"] for row in rows(tmp_path)] == ["5", "10"]
    last = Setting(seed=2)
    history = last.fit(tmp_path, resume=True, checkpoint_every=4)
    state, wanted = straight("kp", "split")
    assert (last.state(), timeless(history)) == (state, timeless(wanted))
    assert [row["step"] for row in rows(tmp_path)] == ["5", "10", "15"]


def test_an_interrupted_validation_is_repeated(straight: Straight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "evaluate", raising(KeyboardInterrupt(), 2, run_module.evaluate))
        with pytest.raises(KeyboardInterrupt):
            Setting().fit(tmp_path)
    again = Setting(seed=3)
    history = again.fit(tmp_path, resume=True)
    assert (again.state(), timeless(history)) == (straight("kp", "split")[0], timeless(straight("kp", "split")[1]))


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
    again = Setting(source="dataset", seed=5)
    history = again.fit(tmp_path, resume=True)
    assert (again.state(), timeless(history)) == (straight("kp", "dataset")[0], timeless(straight("kp", "dataset")[1]))


def test_a_second_ctrl_c_stops_a_step_and_keeps_no_torn_state(tmp_path: Path) -> None:
    learner = plain_learner()
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
        learner = plain_learner(drtp())
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


# ---------------------------------------------------------------------- learning and its metrics


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_digits_are_learnt_and_every_figure_is_the_right_one(tmp_path: Path) -> None:
    data = load_data("digits", limit=300)
    learner = plain_learner()
    optimizer = Adam(learner.parameters(), lr=0.01)
    scheduler = StepLR(optimizer, 1, 0.5)
    history = fit(
        learner, optimizer, data.train, epochs=8, test=data.test, scheduler=scheduler, folder=tmp_path, progress=False
    )  # fmt: skip
    assert history.last.test_accuracy is not None
    assert history.last.test_accuracy > 0.8
    assert history.last.train_loss < 0.5 * history.epochs[0].train_loss
    assert [row.step for row in history.epochs] == [10 * epoch for epoch in range(1, 9)]
    assert [row.learning_rate for row in history.epochs] == [0.01 * 0.5**epoch for epoch in range(8)]
    assert all(row.seconds > 0 and row.samples_per_second == 300 / row.seconds for row in history.epochs)
    with torch.no_grad():
        output = learner.eval()(data.test.x)
    assert history.last.test_accuracy == (output.argmax(1) == data.test.y).float().mean().item()
    assert history.last.test_loss == pytest.approx(nn.functional.cross_entropy(output, data.test.y).item(), rel=1e-6)
    columns = [row.name for row in metrics_module.fields(metrics_module.EpochMetrics)]
    for found, row in zip(rows(tmp_path), history.epochs, strict=True):
        assert list(found) == columns
        assert found == {name: str(value) for name, value in asdict(row).items()}


def test_training_figures_are_means_over_samples(tmp_path: Path) -> None:
    learner = plain_learner()
    still = SGD(learner.parameters(), lr=0.0)
    (row,) = fit(learner, still, DATA.train, epochs=1, batch_size=SIZE, progress=False).epochs
    learned = learner.learn(DATA.train.x, DATA.train.y)
    assert row.train_loss == pytest.approx(learned.loss.item(), rel=1e-5)
    assert row.discrepancy == pytest.approx(learned.discrepancy.item(), rel=1e-5)
    assert row.train_accuracy == (learned.output.argmax(1) == DATA.train.y).double().mean().item()
    assert (row.test_loss, row.test_accuracy) == (None, None)


def test_a_sum_is_reported_a_sample_and_regression_has_no_accuracy(tmp_path: Path) -> None:
    x, y = torch.randn(20, 6), torch.randn(20, 3)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    for loss in (nn.MSELoss(), nn.MSELoss(reduction="sum")):
        learner = Learner(compile(model, bp(), (x, y), loss))
        data = TensorDataset(x, y)
        history = fit(
            learner, SGD(learner.parameters(), 0.0), data, epochs=1, test=DataLoader(data, 7), batch_size=6,
            folder=tmp_path / loss.reduction, progress=False,
        )  # fmt: skip
        wanted = loss(model(x), y).item() / (1 if loss.reduction == "mean" else 20)
        assert history.last.train_loss == pytest.approx(wanted, rel=1e-5)
        assert history.last.test_loss == pytest.approx(wanted, rel=1e-5)
        (row,) = rows(tmp_path / loss.reduction)
        assert (row["train_accuracy"], row["test_accuracy"]) == ("", "")


def test_models_with_several_inputs_and_outputs_are_trained_and_tested() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.out = nn.Linear(6, 8), nn.Linear(8, 3)

        def forward(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
            hidden = torch.tanh(self.hidden(left + right))
            return {"hidden": hidden, "logits": self.out(hidden)}

    x, y = {"left": torch.randn(12, 6), "right": torch.randn(12, 6)}, torch.randint(3, (12,))
    learner = Learner(compile(Two(), dfa(), ({k: v[:6] for k, v in x.items()}, y[:6]), output="logits"))
    pairs = [({key: value[place] for key, value in x.items()}, y[place]) for place in range(12)]
    loader = DataLoader(pairs, batch_size=6)  # type: ignore[arg-type]
    history = fit(learner, SGD(learner.parameters(), 0.1), loader, epochs=2, test=loader, progress=False)
    assert history.last.test_accuracy is not None
    assert history.last.train_loss < history.epochs[0].train_loss


@pytest.mark.parametrize(
    ("output", "labels", "wanted"),
    [
        ([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]], [1, 0, 0], (3, 2)),
        ([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]], [1, -100, 0], (2, 1)),
        ([[[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]], [[1, 0, 0]], (3, 2)),
        ([[[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]], [[1, 0, 0]], (3, 2)),
        ([[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]], (0, 0)),
        ([0.0, 1.0], [0, 1], (0, 0)),
        ([[0.0, 1.0]], [0, 1, 1], (0, 0)),
    ],
)
def test_hits_are_counted_where_labels_are_class_indices(output: Any, labels: Any, wanted: tuple[int, int]) -> None:
    assert hits(torch.tensor(output), torch.tensor(labels), -100) == wanted
    assert hits(torch.tensor(output), (torch.tensor(labels),), -100) == (0, 0)


def test_ignored_labels_do_not_count() -> None:
    output, labels = torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([1, 0])
    for loss in (nn.CrossEntropyLoss(ignore_index=0), partial(nn.functional.cross_entropy, ignore_index=0)):
        sums = Sums()
        sums.add(loss, loss(output, labels), output, labels)
        assert (sums.labelled, sums.accuracy) == (1, 1.0)


def test_updates_are_cut_to_the_norm_together() -> None:
    learner = plain_learner(kp())
    before = {name: parameter.detach().clone() for name, parameter in learner.named_parameters()}
    fit(learner, SGD(learner.parameters(), 1.0), DATA.train, epochs=1, batch_size=70, clip_norm=0.01, progress=False)
    moves = [(parameter - before[name]).flatten() for name, parameter in learner.named_parameters()]
    assert torch.linalg.vector_norm(torch.cat(moves)).item() == pytest.approx(0.01, rel=1e-3)


def test_a_plateau_is_told_the_loss_on_test_data() -> None:
    learner = plain_learner()
    optimizer = SGD(learner.parameters(), 0.0)
    scheduler = ReduceLROnPlateau(optimizer, patience=0)
    history = fit(learner, optimizer, DATA.train, epochs=2, test=DATA.test, scheduler=scheduler, progress=False)
    assert scheduler.best == history.epochs[0].test_loss


def test_the_order_depends_on_seed_and_epoch_only() -> None:
    def order(seed: int | None, epoch: int, skip: int = 0) -> list[int]:
        drawn = batches_of(TensorDataset(torch.arange(10)), 4, seed, "train").draw(epoch, skip)
        return [int(number) for (numbers,) in drawn for number in numbers]

    assert sorted(order(0, 0)) == sorted(order(0, 1)) == order(None, 0) == list(range(10))
    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    assert order(2, 1, skip=1) == order(2, 1)[4:]


def test_the_learner_keeps_its_mode() -> None:
    for mode in (True, False):
        learner = plain_learner().train(mode)
        fit(learner, SGD(learner.parameters(), 0.1), DATA.train, epochs=1, test=DATA.test, progress=False)
        assert learner.training is mode
        assert all(module.training is mode for module in learner.modules())


# ---------------------------------------------------------------------- what is shown


def test_away_from_a_terminal_there_is_a_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    learner = plain_learner()
    history = fit(learner, SGD(learner.parameters(), 0.1), DATA.train, epochs=2, test=DATA.test)
    assert capsys.readouterr().out.splitlines() == [row.line(2) for row in history.epochs]
    assert history.last.line(2).startswith(f"epoch 2/2, loss {history.last.train_loss:.4f}, accuracy ")
    fit(learner, SGD(learner.parameters(), 0.1), DATA.train, epochs=1, progress=False)
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with display(True, 2, 5, 3) as shown:
        assert isinstance(shown, Bar)
    learner = plain_learner()
    history = fit(learner, SGD(learner.parameters(), 0.1), DATA.train, epochs=2)
    shown_text = capsys.readouterr().out
    assert "6/6" in shown_text
    assert "epoch 2/2" in shown_text
    assert history.last.line(2) in shown_text


def test_tensorboard_is_written_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch.utils.tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    learner = plain_learner()
    optimizer = SGD(learner.parameters(), 0.1)
    for epochs in (2, 3):
        history = fit(learner, optimizer, DATA.train, epochs=epochs, folder=tmp_path / "a", resume=epochs > 2, progress=False)
    events = EventAccumulator(str(tmp_path / "a" / "tensorboard")).Reload()
    found = {event.step: event.value for event in events.Scalars("train_loss")}
    assert found == pytest.approx({row.epoch: row.train_loss for row in history.epochs}, rel=1e-6)
    assert "test_loss" not in events.Tags()["scalars"]

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    other = plain_learner()
    fit(other, SGD(other.parameters(), 0.1), DATA.train, epochs=1, folder=tmp_path / "b", progress=False)
    assert sorted(os.listdir(tmp_path / "b")) == ["checkpoint.safetensors", "metrics.csv"]


# ---------------------------------------------------------------------- divergence


def poisoned(at: int) -> DataLoader[Any]:
    x = DATA.train.x.clone()
    x[at * SIZE] = float("nan")
    return DataLoader(TensorDataset(x, DATA.train.y), batch_size=SIZE)


def test_a_non_finite_loss_stops_before_the_update_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    good = plain_learner()
    optimizer = Adam(good.parameters())
    for place in range(3):
        part = slice(place * SIZE, (place + 1) * SIZE)
        good.learn(DATA.train.x[part], DATA.train.y[part])
        optimizer.step()
        optimizer.zero_grad()
    learner = plain_learner()
    with pytest.raises(NonFiniteLoss) as caught:
        fit(learner, Adam(learner.parameters()), poisoned(3), epochs=1, folder=tmp_path, progress=False)
    path = tmp_path / "checkpoint.safetensors"
    assert str(caught.value).startswith("Epoch 1, step 4: The loss is nan.")
    assert f"The last good state, epoch 1 behind step 3, lies in '{path}'." in str(caught.value)
    assert "resume it with clip_norm=..., or start in another folder with a lower learning rate" in str(caught.value)
    tree: Any = load_tree(path, "run")
    assert flat(tree["learner"]) == flat(learner.state_dict()) == flat(good.state_dict())
    assert flat(tree["optimizer"]) == flat(optimizer.state_dict())
    with pytest.raises(NonFiniteLoss, match="No state is kept, since no folder was given"):
        fit(learner, optimizer_of(learner), poisoned(0), epochs=1, progress=False)


def optimizer_of(learner: Learner) -> Optimizer:
    return SGD(learner.parameters(), 0.1)


def spoil(parameter: Tensor, at: int, wrapped: Callable[..., Any]) -> Callable[..., Any]:
    calls = iter(range(1, 1000))

    def step(*args: Any) -> Any:
        result = wrapped(*args)
        if next(calls) == at:
            with torch.no_grad():
                parameter.flatten()[0] = float("inf")
        return result

    return step


@pytest.mark.parametrize("at", [7, 2 * BATCHES], ids=["seen by a loss", "seen by a checkpoint"])
def test_a_broken_parameter_never_reaches_a_checkpoint(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = plain_learner()
    optimizer = optimizer_of(learner)
    monkeypatch.setattr(optimizer, "step", spoil(next(learner.parameters()), at, optimizer.step))
    with pytest.raises(NonFiniteLoss, match="The last good state, the end of epoch 1, lies in") as caught:
        fit(learner, optimizer, DATA.train, epochs=4, batch_size=SIZE, folder=tmp_path, progress=False)
    told = {7: "Epoch 2, step 3: The loss is nan", 2 * BATCHES: "Parameter 'model.1.weight' is not finite at the end of epoch 2"}
    assert str(caught.value).startswith(told[at])
    tree: Any = load_tree(tmp_path / "checkpoint.safetensors", "run")
    assert all(value.isfinite().all() for value in tree["learner"].values())


def test_a_non_finite_update_is_not_made_where_updates_are_cut(tmp_path: Path) -> None:
    learner = plain_learner()
    original, calls = learner.learn, iter(range(1, 100))

    def learn(x: Any, y: Any) -> Any:
        learned = original(x, y)
        if next(calls) == 3:
            next(iter(learner.parameters())).grad[0] = float("inf")  # type: ignore[index]
        return learned

    learner.learn = learn  # type: ignore[method-assign]
    with pytest.raises(NonFiniteLoss, match=r"Epoch 1, step 3: The norm of the updates is inf.*good state, the start, lies in"):
        fit(learner, optimizer_of(learner), DATA.train, epochs=1, clip_norm=1.0, batch_size=SIZE, folder=tmp_path, progress=False)
    assert all(parameter.isfinite().all() for parameter in learner.parameters())


def test_a_learner_that_is_broken_from_the_start_is_told(tmp_path: Path) -> None:
    learner = plain_learner()
    with torch.no_grad():
        next(learner.parameters())[0] = float("nan")
    with pytest.raises(NonFiniteLoss, match=r"Parameter 'model\.1\.weight' is not finite at the start.*There is no good state yet"):
        fit(learner, optimizer_of(learner), DATA.train, epochs=1, folder=tmp_path, progress=False)


# ---------------------------------------------------------------------- refusals


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    def __init__(self, times: int = 99) -> None:
        self.times = times

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.times -= 1
        return iter([] if self.times < 0 else [(DATA.train.x[0], DATA.train.y[0])] * 3)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "epochs": ({"epochs": 0}, "epochs=0 cannot be. Give a whole number from 1 on."),
    "part of an epoch": ({"epochs": 1.5}, "epochs=1.5 cannot be. Give a whole number from 1 on."),
    "batch size": ({"batch_size": -1}, "batch_size=-1 cannot be. Give a whole number from 1 on."),
    "every": ({"checkpoint_every": 0, "folder": Path("x")}, "checkpoint_every=0 cannot be. Give a whole number from 1 on."),
    "every without": ({"checkpoint_every": 3}, "checkpoint_every=3 needs the folder that keeps the run. Pass folder=... as well."),
    "resume without": ({"resume": True}, "resume=True needs the folder that keeps the run. Pass folder=... as well."),
    "clip": ({"clip_norm": 0.0}, "clip_norm=0.0 would undo every update. Give a number above 0, or None."),
    "clip nan": ({"clip_norm": float("nan")}, "clip_norm=nan would undo every update."),
    "empty": ({"train": TensorDataset(torch.ones(0, 2))}, "There is nothing in train: not one batch comes out of it."),
    "empty loader": ({"test": DataLoader([])}, "There is nothing in test: not one batch comes out of it."),
    "stream": ({"train": Stream()}, "Batches cannot be drawn from train, a Stream. Wrap it in a DataLoader."),
    "tuple": (
        {"test": (1, 2)}, "Batches cannot be drawn from test, a tuple. Give a Split, a map-style Dataset or a DataLoader."
    ),
    "no pair": ({"train": DataLoader(TensorDataset(torch.ones(4, 2)))}, "A batch of train is a list of 1 and not a pair (x, y)."),
    "no sequence": ({"train": DataLoader(DATA.train.x)}, "A batch of train is a Tensor and not a pair (x, y)."),
    "runs dry": ({"train": DataLoader(Stream(1)), "epochs": 2}, "Epoch 2 has not one batch. Give a loader that starts anew every epoch."),
    "tests run dry": ({"test": DataLoader(Stream(0))}, "The test data has not one batch."),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_arguments_that_cannot_be_are_refused(case: str) -> None:
    options, told = REFUSED[case]
    learner = plain_learner()
    given = {"train": DATA.train, "epochs": 1, "progress": False} | options
    with pytest.raises(TrainingError) as caught:
        fit(learner, optimizer_of(learner), given.pop("train"), **given)
    assert told in str(caught.value)


def test_streams_are_trained_on() -> None:
    learner = plain_learner()
    history = fit(learner, optimizer_of(learner), DataLoader(Stream(), 2), epochs=2, progress=False)
    assert [row.step for row in history.epochs] == [2, 4]


def test_optimizers_and_schedulers_that_do_not_fit_are_refused() -> None:
    learner, other = plain_learner(kp()), plain_learner(kp())
    run = partial(fit, learner, train=DATA.train, epochs=1, progress=False)
    with pytest.raises(TrainingError, match="holds none of the learner's parameters, so nothing would change"):
        run(optimizer_of(other))
    with pytest.raises(TrainingError, match="LBFGS evaluates the loss several times a step"):
        run(LBFGS(learner.parameters()))
    with pytest.raises(TrainingError, match="The StepLR steers another optimizer than the one that was passed"):
        run(optimizer_of(learner), scheduler=StepLR(optimizer_of(other), 1))
    optimizer = optimizer_of(learner)
    with pytest.raises(TrainingError, match="ReduceLROnPlateau waits for the loss on test data, and there is none"):
        run(optimizer, scheduler=ReduceLROnPlateau(optimizer))


def test_learned_parameters_that_the_optimizer_leaves_out_are_told(recwarn: pytest.WarningsRecorder) -> None:
    learner = plain_learner(kp())
    told = r"leaves out 1 of the learner's learned parameters \(synapses\.mirror:3/weight\)"
    with pytest.warns(UserWarning, match=told) as caught:
        fit(learner, SGD(learner.forward_parameters(), 0.1), DATA.train, epochs=1, progress=False)
    assert caught[0].filename == __file__
    fixed = plain_learner(dfa())
    fit(fixed, SGD(fixed.forward_parameters(), 0.1), DATA.train, epochs=1, progress=False)
    still = plain_learner(dfa().model_copy(update={"frozen": ("1.*",)}))
    fit(still, SGD([p for n, p in still.named_parameters() if "model.3" in n], 0.1), DATA.train, epochs=1, progress=False)
    assert not [warning for warning in recwarn if "leaves out" in str(warning.message)]


def test_folders_are_not_overwritten_and_not_resumed_from_nothing(tmp_path: Path) -> None:
    learner = plain_learner()
    run = partial(fit, learner, optimizer_of(learner), DATA.train, epochs=1, progress=False)
    with pytest.raises(TrainingError, match=r"There is no run to resume in '.*new': it has no checkpoint\.safetensors"):
        run(folder=tmp_path / "new", resume=True)
    run(folder=str(tmp_path / "deep" / "new"))
    with pytest.raises(TrainingError, match=r"There is a run in '.*new' already.* Go on with it by resume=True, or choose another"):
        run(folder=tmp_path / "deep" / "new")
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=r"The folder '.*file' cannot be made \(File exists\)"):
        run(folder=tmp_path / "file")


def foreign(width: int = 16, dtype: torch.dtype = torch.float32, **options: Any) -> tuple[Learner, Optimizer, dict[str, Any]]:
    """A learner like that of `plain_learner` but for what is named."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(64, width), nn.Tanh(), nn.Linear(width, 10)]
    model = options.pop("model", nn.Sequential)(*layers).to(dtype)
    learner = Learner(compile(model, options.pop("wiring", dfa()), (DATA.train.x[:SIZE].to(dtype), DATA.train.y[:SIZE])))
    make, parameters = options.pop("optimizer", SGD), list(learner.parameters())
    return learner, make(parameters[:: options.pop("order", 1)], lr=0.1), options


class Chain(nn.Sequential):
    """A model with another name."""


FOREIGN: dict[str, tuple[dict[str, Any], str]] = {
    "wiring": ({"wiring": kp()}, "belongs to another run: wiring.name is 'dfa' there and 'kp' here. Build the run as it was"),
    "model": ({"model": Chain}, "belongs to another run: model is 'Sequential' there and 'Chain' here"),
    "optimizer": ({"optimizer": Adam}, "optimizer is 'SGD' there and 'Adam' here"),
    "order": ({"order": -1}, "optimizer's groups.0.0 is 'model.1.weight' there and 'synapses.output->2' here"),
    "batch size": ({"batch_size": 8}, "data.batch_size is 16 there and 8 here"),
    "seed": ({"seed": 3}, "data.seed is 0 there and 3 here"),
    "data": ({"train": DATA.train.first(50)}, "data.samples is 70 there and 50 here"),
    "loader": ({"train": DataLoader(Noisy(), SIZE)}, "data.source is 'samples' there and 'DataLoader' here"),
    "width": ({"width": 8}, "does not fit here: 4 wrongly shaped (model.1.weight [16, 64] where [8, 64] is wanted"),
    "dtype": ({"dtype": torch.float64}, "model.1.weight is torch.float32 there and torch.float64 here. Convert the model with"),
}  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    learner = plain_learner()
    fit(learner, optimizer_of(learner), DATA.train, epochs=1, batch_size=SIZE, folder=folder, progress=False)
    return folder


@pytest.mark.parametrize("case", FOREIGN)
def test_a_checkpoint_of_another_run_is_refused_and_nothing_changed(case: str, kept: Path) -> None:
    options, told = FOREIGN[case]
    learner, optimizer, rest = foreign(**options)
    before, content = flat(learner.state_dict()), (kept / "checkpoint.safetensors").read_bytes()
    given = {"train": DATA.train, "batch_size": SIZE} | rest
    with pytest.raises(CheckpointError) as caught:
        fit(learner, optimizer, given.pop("train"), epochs=2, folder=kept, resume=True, progress=False, **given)
    assert told in str(caught.value)
    assert flat(learner.state_dict()) == before
    assert (kept / "checkpoint.safetensors").read_bytes() == content


def test_a_damaged_or_foreign_checkpoint_is_refused(tmp_path: Path, kept: Path) -> None:
    learner = plain_learner()
    run = partial(fit, learner, optimizer_of(learner), DATA.train, epochs=2, folder=tmp_path, resume=True, progress=False)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes((kept / "checkpoint.safetensors").read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="is cut short, damaged"):
        run()
    save_tree(path, {"w": torch.ones(2)}, "run")
    with pytest.raises(CheckpointError, match="calls itself a 'run', but fit did not write it"):
        run()


def test_a_shorter_loader_or_one_with_other_generators_is_refused(tmp_path: Path) -> None:
    def run(loader: DataLoader[Any], stop: int | None = None) -> None:
        learner = plain_learner()
        if stop is not None:
            learner.learn = raising(KeyboardInterrupt(), stop, learner.learn)  # type: ignore[method-assign]
        fit(learner, optimizer_of(learner), loader, epochs=1, folder=tmp_path, resume=stop is None, progress=False)

    with pytest.raises(KeyboardInterrupt):
        run(DataLoader(Stream(), 1), 3)
    with pytest.raises(CheckpointError, match="stands behind batch 2 of an epoch, but the DataLoader ends after 0"):
        run(DataLoader(Stream(0), 1))
    with pytest.raises(CheckpointError, match="had 0 generators and yours has 1"):
        run(DataLoader(Stream(), 1, generator=torch.Generator()))


def test_what_no_file_can_hold_shows_at_once(tmp_path: Path) -> None:
    learner = plain_learner()
    optimizer = optimizer_of(learner)
    optimizer.param_groups[0]["note"] = {1, 2}
    with pytest.raises(CheckpointError, match=r"cannot hold optimizer\.param_groups\.0\.note: <class 'set'>"):
        fit(learner, optimizer, DATA.train, epochs=1, folder=tmp_path, progress=False)
    assert not os.listdir(tmp_path)


def test_buffers_outside_the_state_dict_come_back(tmp_path: Path) -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(64, 10)
            self.register_buffer("seen", torch.zeros(()), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            self.seen = self.seen + 1
            return self.out(x.flatten(1)) / self.seen

    def build() -> Learner:
        return Learner(compile(Counting(), bp(), (DATA.train.x[:SIZE], DATA.train.y[:SIZE])))

    learner = build()
    seen = dict(learner.named_buffers())["model.seen"]
    fit(learner, optimizer_of(learner), DATA.train, epochs=1, batch_size=SIZE, folder=tmp_path, progress=False)
    if seen.item() != BATCHES:
        pytest.skip("this torch exports no mutation of a plain buffer")
    again = build()
    fit(again, optimizer_of(again), DATA.train, epochs=1, batch_size=SIZE, folder=tmp_path, resume=True, progress=False)
    assert dict(again.named_buffers())["model.seen"].item() == BATCHES


def test_splits_are_batched_as_they_are() -> None:
    (x, y), *_ = batches_of(Split(DATA.train.x, DATA.train.y), 3, None, "train").draw(0)
    assert torch.equal(x, DATA.train.x[:3])
    assert torch.equal(y, DATA.train.y[:3])
