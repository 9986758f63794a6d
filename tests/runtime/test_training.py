"""fit: what is learnt, what is measured, and what is shown."""

import os
import sys
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, TensorDataset
from training_case import DATA, SIZE, fresh, rows

from compiler import compile
from runtime import Learner, fit
from runtime.batches import batches_of
from runtime.data import Split, load_data
from runtime.measures import Sums, hits
from runtime.metrics import EpochMetrics
from runtime.progress import Bar, display
from wiring import bp, dfa, kp


def test_digits_are_learnt_and_every_figure_is_the_right_one(tmp_path: Path) -> None:
    data = load_data("digits", limit=300)
    learner = fresh()
    optimizer = Adam(learner.parameters(), lr=0.02)
    scheduler = StepLR(optimizer, 1, 0.9)
    history = fit(
        learner, optimizer, data.train, epochs=8, test=data.test, scheduler=scheduler, folder=tmp_path, progress=False
    )  # fmt: skip
    assert history.last.test_accuracy is not None
    assert history.last.test_accuracy > 0.8
    assert history.last.train_loss < 0.5 * history.epochs[0].train_loss
    assert [row.step for row in history.epochs] == [10 * epoch for epoch in range(1, 9)]
    assert [row.learning_rate for row in history.epochs] == pytest.approx([0.02 * 0.9**epoch for epoch in range(8)])
    assert all(row.seconds > 0 and row.samples_per_second == 300 / row.seconds for row in history.epochs)
    with torch.no_grad():
        output = learner.eval()(data.test.x)
    assert history.last.test_accuracy == (output.argmax(1) == data.test.y).double().mean().item()
    assert history.last.test_loss == pytest.approx(nn.functional.cross_entropy(output, data.test.y).item(), rel=1e-6)
    columns = [column.name for column in fields(EpochMetrics)]
    for found, row in zip(rows(tmp_path), history.epochs, strict=True):
        assert list(found) == columns
        assert found == {name: str(value) for name, value in asdict(row).items()}


def test_training_figures_are_means_over_samples(tmp_path: Path) -> None:
    learner = fresh()
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
    module = nn.CrossEntropyLoss(ignore_index=0)
    for loss in (module, partial(module), partial(nn.functional.cross_entropy, ignore_index=0)):
        sums = Sums()
        sums.add(loss, loss(output, labels), output, labels)
        assert (sums.labelled, sums.accuracy) == (1, 1.0)


def test_updates_are_cut_to_the_norm_together() -> None:
    learner = fresh(kp())
    before = {name: parameter.detach().clone() for name, parameter in learner.named_parameters()}
    fit(learner, SGD(learner.parameters(), 1.0), DATA.train, epochs=1, batch_size=70, clip_norm=0.01, progress=False)
    moves = [(parameter - before[name]).flatten() for name, parameter in learner.named_parameters()]
    assert torch.linalg.vector_norm(torch.cat(moves)).item() == pytest.approx(0.01, rel=1e-3)


def test_a_plateau_is_told_the_loss_on_test_data() -> None:
    learner = fresh()
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
        learner = fresh().train(mode)
        fit(learner, SGD(learner.parameters(), 0.1), DATA.train, epochs=1, test=DATA.test, progress=False)
        assert learner.training is mode
        assert all(module.training is mode for module in learner.modules())


def test_away_from_a_terminal_there_is_a_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    learner = fresh()
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
    learner = fresh()
    history = fit(learner, SGD(learner.parameters(), 0.1), DATA.train, epochs=2)
    shown_text = capsys.readouterr().out
    assert "6/6" in shown_text
    assert "epoch 2/2" in shown_text
    assert history.last.line(2) in shown_text


def test_tensorboard_is_written_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch.utils.tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    learner = fresh()
    optimizer = SGD(learner.parameters(), 0.1)
    for epochs in (2, 3):
        history = fit(learner, optimizer, DATA.train, epochs=epochs, folder=tmp_path / "a", resume=epochs > 2, progress=False)
    events = EventAccumulator(str(tmp_path / "a" / "tensorboard")).Reload()
    found = {event.step: event.value for event in events.Scalars("train_loss")}
    assert found == pytest.approx({row.epoch: row.train_loss for row in history.epochs}, rel=1e-6)
    assert "test_loss" not in events.Tags()["scalars"]

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    other = fresh()
    fit(other, SGD(other.parameters(), 0.1), DATA.train, epochs=1, folder=tmp_path / "b", progress=False)
    assert sorted(os.listdir(tmp_path / "b")) == ["checkpoint.previous.safetensors", "checkpoint.safetensors", "metrics.csv"]


def test_splits_are_batched_as_they_are() -> None:
    (x, y), *_ = batches_of(Split(DATA.train.x, DATA.train.y), 3, None, "train").draw(0)
    assert torch.equal(x, DATA.train.x[:3])
    assert torch.equal(y, DATA.train.y[:3])
