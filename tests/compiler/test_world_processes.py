"""Two processes with a shard each against one process with the joint batch, in float64."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from world_cases import cases, process

EXACT = 1e-10
Told = list[dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What both processes found, by case: one pair for all of them, since starting it takes longer than most."""
    folder = tmp_path_factory.mktemp("pair")
    torch.multiprocessing.spawn(process, (str(folder),), nprocs=2)
    return [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("name", [name for name, case in cases().items() if case.alone])
def test_two_processes_equal_one(name: str, told: Told) -> None:
    """Parameters, error synapses, buffers, updates, loss and discrepancy behind two steps of SGD with momentum."""
    (far,) = [rank[name]["far"] for rank in told if "far" in rank[name]]
    assert {"loss", "discrepancy"} < far.keys()
    worst = max(far, key=far.__getitem__)
    assert far[worst] < EXACT, f"{worst} is {far[worst]:.1e} off"


@pytest.mark.parametrize("name", cases())
def test_ranks_are_equal_bit_for_bit(name: str, told: Told) -> None:
    first, second = (rank[name]["digest"] for rank in told)
    assert first == second


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_mirrors_learn_from_the_mean_of_the_noise_that_each_process_drew(reduction: str, told: Told) -> None:
    """Under a loss that is a sum as well: noise has no batch to sum over."""
    first, second = (rank["noise"] for rank in told)
    assert first[reduction] == second[reduction]
    assert len(first["alone"]) == 2
    for mirror, found in first[reduction].items():
        one, other = (torch.tensor(rank["alone"][mirror], dtype=torch.float64) for rank in (first, second))
        assert not torch.allclose(one, other)
        torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), (3 * one + 5 * other) / 8)
