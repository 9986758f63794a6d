"""Processes of a run under torchrun that are killed: the others end with a message, torchrun starts all anew, nothing is lost."""

import csv
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.jobs import Job, Source, train
from runtime.metrics import History
from runtime.place import read_run
from runtime.recipe import Recipe

HERE = Path(__file__).parent
OPTIONS = ("--limit", "70", "--batch-size", "16", "--optimizer", "sgd", "--lr", "0.05", "--checkpoint-every", "3", "--no-watch")
COMMAND = ("train", "--model", "distributed_dying:mlp", "--wiring", "dkp", *OPTIONS, "--epochs", "100000", "--folder", "run")


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str], float]:
    """A run of two processes, of which one is killed in each of two attempts; and how many seconds it took."""
    folder = tmp_path_factory.mktemp("killed")
    paths = os.pathsep.join(map(str, (HERE.parent.parent, HERE)))
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1", "-m", "runtime")
    since = time.monotonic()
    ended = subprocess.run(
        [*torchrun, *COMMAND], cwd=folder, env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    return folder / "run", ended, time.monotonic() - since


def test_each_death_is_told_once_with_the_process_and_what_is_left(
    killed: tuple[Path, subprocess.CompletedProcess[str], float],
) -> None:
    _, ended, _ = killed
    told = [line for line in ended.stderr.splitlines() if line.startswith("Error")]
    assert ended.returncode
    assert len(told) == 2
    assert told[0].startswith(
        "Error: Process 1 of 2 no longer answers: killed, out of memory, failed, or cut off. The last good state, "
    )
    assert told[1].startswith("Error in process 1: Process 0 of 2 no longer answers")
    assert str(Path("run") / "checkpoint.safetensors") in told[1]


def test_the_second_attempt_went_on_from_the_checkpoint_of_the_first(
    killed: tuple[Path, subprocess.CompletedProcess[str], float],
) -> None:
    folder, ended, _ = killed
    before, after = (
        [int(n) for n in re.findall(r"^epoch (\d+)/", part, re.MULTILINE)] for part in ended.stdout.split("folder  run")[1:]
    )
    assert before == list(range(1, before[-1] + 1))
    assert after[0] in (before[-1], before[-1] + 1)
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [int(row["epoch"]) for row in csv.DictReader(file)]
    assert rows == list(range(1, len(rows) + 1))
    assert len(rows) in (after[-1], after[-1] + 1)  # a process can die between an epoch's row and its line


def test_one_process_ends_the_run_as_if_nothing_had_happened(
    killed: tuple[Path, subprocess.CompletedProcess[str], float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = killed[0]
    monkeypatch.syspath_prepend(str(HERE))
    epochs = int(read_run(folder / "checkpoint.safetensors")["place"]["epoch"]) + 2

    def ended(place: Path, resume: bool) -> History:
        recipe = Recipe(epochs=epochs, batch_size=16, optimizer="sgd", lr=0.05)
        job = Job("distributed_dying:mlp", "dkp", Source(limit=70), recipe, place, watch=False, checkpoint_every=3)
        return train(job, resume, lambda *_: None)

    went_on, alone = ended(folder, True), ended(tmp_path / "alone", False)
    assert [row.epoch for row in went_on.epochs] == list(range(1, epochs + 1))
    for found, wanted in zip(went_on.epochs, alone.epochs, strict=True):  # two processes sum float32 in another order: 1e-7
        assert found.train_loss == pytest.approx(wanted.train_loss, rel=1e-6)
        assert found.test_loss == pytest.approx(wanted.test_loss, rel=1e-6)
