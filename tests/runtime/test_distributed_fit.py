"""Two processes against one: the same run, shared; stopped and resumed on another number of them; and what they refuse."""

import json
import multiprocessing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from distributed_case import CASES, STOP, free_port, learner_of, process, sets, state, stopped, trained

from runtime import History
from runtime.checkpoint import load_tree
from runtime.place import read_run
from runtime.tree import CheckpointError

CLOSE = {"rtol": 1e-10, "atol": 1e-10}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, History]:
    """The run of one process."""
    folder = tmp_path_factory.mktemp("alone")
    return folder, trained(folder)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes have done every case; one of them goes on with a run that one process began."""
    folder = tmp_path_factory.mktemp("pair")
    with pytest.raises(KeyboardInterrupt):
        stopped(folder / "from_one", _interrupt)
    context, port = multiprocessing.get_context("forkserver"), free_port()
    context.set_forkserver_preload(["distributed_case"])  # imported once for both
    processes = [context.Process(target=process, args=(rank, port, str(folder))) for rank in range(2)]
    for one in processes:
        one.start()
    for one in processes:
        one.join(300)
    assert [one.exitcode for one in processes] == [0, 0]
    return folder


def _interrupt() -> None:
    raise KeyboardInterrupt


def given(pair: Path, case: str) -> list[Any]:
    """What each process got from a case."""
    return [json.loads((pair / f"{case}-{rank}.json").read_text()) for rank in range(2)]


def close(folder: Path, other: Path) -> None:
    """Two runs ended with the same weights, error synapses and momenta."""
    left, right = (state(read_run(place / "checkpoint.safetensors")) for place in (folder, other))
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        torch.testing.assert_close(tensor, right[name], **CLOSE, msg=lambda text, name=name: f"{name}: {text}")


def numbers(rows: list[dict[str, Any]]) -> list[list[float]]:
    return [[value for name, value in row.items() if "second" not in name] for row in rows]


def as_one(pair: Path, case: str, folder: Path, history: History) -> None:
    """Both processes counted in a case what one process did, and ended where it did."""
    wanted = numbers([asdict(row) for row in history.epochs])
    for rows in given(pair, case):
        for found, row in zip(numbers(rows), wanted, strict=True):
            assert found == pytest.approx(row, rel=1e-10)
    close(pair / case, folder)


@pytest.mark.parametrize("case", ["whole", "from_one"])
def test_two_processes_train_as_one(pair: Path, alone: tuple[Path, History], case: str) -> None:
    as_one(pair, case, *alone)


def test_two_processes_train_as_one_under_a_loss_that_is_a_sum(pair: Path, tmp_path: Path) -> None:
    as_one(pair, "a_loss_that_is_a_sum", tmp_path, trained(tmp_path, learner=learner_of(reduction="sum")))


def test_a_signal_to_one_stops_both_behind_the_same_step_and_one_process_goes_on(pair: Path, alone: tuple[Path, History]) -> None:
    first, second = given(pair, "told_to_stop")
    assert first == second
    step = STOP + 1 - 5  # of the second epoch: what came within a step is agreed on within the next
    assert f"epoch 2 behind step {step}" in first[0]
    assert read_run(pair / "told_to_stop" / "checkpoint.safetensors")["place"]["step"] == step
    trained(pair / "told_to_stop", resume=True)
    close(pair / "told_to_stop", alone[0])
    assert not list((pair / "told_to_stop").glob("shards-*"))


def test_dropout_draws_another_mask_in_each_process_and_comes_back_bit_for_bit(pair: Path) -> None:
    first, second = given(pair, "with_dropout")
    assert first != second
    whole, resumed = (state(read_run(pair / "with_dropout" / name / "checkpoint.safetensors")) for name in ("whole", "stopped"))
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_metrics_are_written_once(pair: Path) -> None:
    assert len((pair / "whole" / "metrics.csv").read_text().splitlines()) == 4


def test_processes_with_another_weight_are_refused_by_its_name(pair: Path) -> None:
    first, second = given(pair, "another_weight")
    assert first == second
    assert "model.4.weight is another in process 0 than in process 1" in first
    assert not (pair / "another_weight" / "checkpoint.safetensors").exists()


def test_processes_with_another_momentum_are_refused_by_its_name(pair: Path) -> None:
    first, second = given(pair, "another_momentum")
    assert first == second
    assert "the optimiser's momentum_buffer of parameter 1 is another in process 0 than in process 1" in first


def test_processes_with_other_numbers_of_batches_are_refused(pair: Path) -> None:
    assert all(
        "the number of batches in an epoch is another in process 0 than in process 1" in text
        for text in given(pair, "loaders_of_other_lengths")
    )


def test_a_disk_that_fills_up_on_one_process_is_told_on_all_and_the_checkpoint_before_stays(pair: Path) -> None:
    first, second = given(pair, "one_full_disk")
    assert first == second
    assert first.startswith("Process 1: Checkpoint ")
    path = pair / "one_full_disk" / "checkpoint.safetensors"
    assert read_run(path)["place"]["total"] == 3
    assert len(list(path.parent.glob("shards-*"))) == 2  # of that one and of the one before it


def test_a_checkpoint_in_shards_is_no_other_kind(pair: Path) -> None:
    with pytest.raises(CheckpointError, match="'run in shards', not a 'run'"):
        load_tree(pair / "whole" / "checkpoint.safetensors", "run")


def test_every_case_is_looked_at() -> None:
    assert len(CASES) == 9
    assert len(sets()) % 16 == 1
    assert learner_of().program.source.world is None
