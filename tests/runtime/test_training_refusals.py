"""fit: arguments that cannot be, and checkpoints of other runs."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import LBFGS, SGD, Adam, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from training_case import DATA, SIZE, Chain, Noisy, flat, fresh, optimizer_of, raising

from runtime import Learner, TrainingError, TrainingWarning, fit
from runtime.checkpoint import save_tree
from runtime.tree import CheckpointError
from wiring import dfa, kp


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
    learner = fresh()
    given = {"train": DATA.train, "epochs": 1, "progress": False} | options
    with pytest.raises(TrainingError) as caught:
        fit(learner, optimizer_of(learner), given.pop("train"), **given)
    assert told in str(caught.value)


def test_streams_are_trained_on() -> None:
    learner = fresh()
    history = fit(learner, optimizer_of(learner), DataLoader(Stream(), 2), epochs=2, progress=False)
    assert [row.step for row in history.epochs] == [2, 4]


def test_optimizers_and_schedulers_that_do_not_fit_are_refused() -> None:
    learner, other = fresh(kp()), fresh(kp(), seed=1)
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
    learner = fresh(kp())
    told = r"leaves out 1 of the learner's learned parameters \(synapses\.mirror:3/weight\)"
    with pytest.warns(TrainingWarning, match=told) as caught:
        fit(learner, SGD(learner.forward_parameters(), 0.1), DATA.train, epochs=1, progress=False)
    assert caught[0].filename == __file__
    fixed = fresh(dfa())
    fit(fixed, SGD(fixed.forward_parameters(), 0.1), DATA.train, epochs=1, progress=False)
    still = fresh(dfa().model_copy(update={"frozen": ("3.bias",)}))
    rest = [parameter for name, parameter in still.named_parameters() if name != "model.3.bias"]
    fit(still, SGD(rest, 0.1), DATA.train, epochs=1, progress=False)
    assert not [warning for warning in recwarn if "leaves out" in str(warning.message)]


def test_folders_are_not_overwritten_and_not_resumed_from_nothing(tmp_path: Path) -> None:
    learner = fresh()
    run = partial(fit, learner, optimizer_of(learner), DATA.train, epochs=1, progress=False)
    with pytest.raises(TrainingError, match=r"There is no run to resume in '.*new': it has no checkpoint\.safetensors"):
        run(folder=tmp_path / "new", resume=True)
    run(folder=str(tmp_path / "deep" / "new"))
    with pytest.raises(TrainingError, match=r"There is a run in '.*new' already.* Go on with it by resume=True, or choose another"):
        run(folder=tmp_path / "deep" / "new")
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=r"The folder '.*file' cannot be made \(File exists\)"):
        run(folder=tmp_path / "file")


def foreign(**options: Any) -> tuple[Learner, Optimizer, dict[str, Any]]:
    """A learner and optimiser like those that the checkpoint is of, but for what is named; and the other options."""
    named = {name: options.pop(name) for name in ("wiring", "kind", "width", "dtype") if name in options}
    learner = fresh(**named)
    make, parameters = options.pop("optimizer", SGD), list(learner.parameters())
    return learner, make(parameters[:: options.pop("order", 1)], lr=0.1), options


FOREIGN: dict[str, tuple[dict[str, Any], str]] = {
    "wiring": ({"wiring": kp()}, "belongs to another run: wiring.name is 'dfa' there and 'kp' here. Build the run as it was"),
    "model": ({"kind": Chain}, "belongs to another run: model is 'Sequential' there and 'Chain' here"),
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
    learner = fresh()
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
    learner = fresh()
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
        learner = fresh()
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
    learner = fresh()
    optimizer = optimizer_of(learner)
    optimizer.param_groups[0]["note"] = {1, 2}
    with pytest.raises(CheckpointError, match=r"cannot hold optimizer\.param_groups\.0\.note: <class 'set'>"):
        fit(learner, optimizer, DATA.train, epochs=1, folder=tmp_path, progress=False)
    assert not os.listdir(tmp_path)
