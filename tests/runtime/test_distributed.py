"""Several processes without any: who takes which samples, what torchrun's environment says, what checkpoints in shards refuse."""

import json
import shutil
import warnings
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from distributed_case import free_port
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributed.checkpoint.state_dict_saver import save

from runtime.batches import batches_of
from runtime.begun import begun_by
from runtime.checkpoint import previous_of, save_tree
from runtime.distributed import ALONE, DivergedRanks, PeerLost, Peers, Portion, RendezvousError, joining
from runtime.distributed.digests import check_same
from runtime.distributed.folders import clear_shards
from runtime.distributed.joining import joined, launch, refuse_company
from runtime.distributed.loss import is_broken, noticing
from runtime.distributed.shards import load_shards
from runtime.distributed.storage import ShardWriter
from runtime.place import read_run
from runtime.tree import CheckpointError, taken_apart

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


# ------------------------------------------------------------------------------------------------ data


@given(joint=st.integers(1, 40), size=st.integers(1, 9))
def test_portions_are_all_of_a_batch_in_its_order_and_the_rest_is_borrowed(joint: int, size: int) -> None:
    places, parts = torch.arange(joint), [Portion(rank, size) for rank in range(size)]
    counts = [part.samples(joint) for part in parts]
    assert torch.equal(torch.cat([part.of(places)[:count] for part, count in zip(parts, counts, strict=True)]), places)
    assert max(counts) - min(counts) <= 1
    assert all(part.of(places).tolist() == [0] for part, count in zip(parts, counts, strict=True) if not count)


@given(length=st.integers(1, 30), batch=st.integers(1, 8), size=st.integers(2, 5), skip=st.integers(0, 3))
def test_processes_share_the_batches_that_one_draws(length: int, batch: int, size: int, skip: int) -> None:
    data = torch.utils.data.TensorDataset(torch.arange(length), torch.arange(length))
    whole = [x.tolist() for x, _ in batches_of(data, batch, 3, "train").draw(1, skip)]
    shares: list[list[int]] = [[] for _ in whole]
    for rank in range(size):
        own = batches_of(data, batch, 3, "train", Portion(rank, size))
        for number, (x, _) in enumerate(own.draw(1, skip)):
            shares[number] += x.tolist()[: own.samples(number + skip)]
    assert shares == whole


# ------------------------------------------------------------------------------------------------ torchrun's environment


@pytest.mark.parametrize("environment", [{}, {"RANK": "0"}, {"WORLD_SIZE": "1"}])
def test_without_torchrun_a_process_is_alone(environment: dict[str, str]) -> None:
    assert launch(environment) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"RANK": None}, "WORLD_SIZE is '2', but RANK is not set. Start the processes by `torchrun"),
        ({"MASTER_ADDR": "", "MASTER_PORT": None}, "MASTER_ADDR and MASTER_PORT are not set"),
        ({"WORLD_SIZE": "two"}, "is no number"),
        ({"RANK": "2"}, "RANK is 2 and WORLD_SIZE 2: ranks count from 0"),
    ],
)
def test_half_of_an_environment_is_refused(change: Mapping[str, str | None], told: str) -> None:
    environment = {name: value for name, value in {**TORCHRUN, **change}.items() if value is not None}
    with pytest.raises(RendezvousError, match=told):
        launch(environment)


def test_others_that_are_not_there_are_told_with_the_place_of_the_meeting(monkeypatch: pytest.MonkeyPatch) -> None:
    port = str(free_port())
    for name, value in {**TORCHRUN, "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(joining, "TIMEOUT", timedelta(seconds=1))
    with pytest.raises(RendezvousError, match=f"Process 1 of 2 has not found the others at localhost:{port}"), joined():
        pass


def test_commands_for_one_process_refuse_several(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_company("compare")
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RendezvousError, match="The command compare runs in one process, and torchrun has started 2"):
        refuse_company("compare")


def test_only_what_torchrun_starts_anew_goes_on_by_itself(tmp_path: Path) -> None:
    own = {**TORCHRUN, "TORCHELASTIC_RUN_ID": "one"}
    again = launch({**own, "TORCHELASTIC_RESTART_COUNT": "1"})
    assert not begun_by(again, tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"launch": "one"}))
    assert begun_by(again, tmp_path)
    assert not begun_by(launch(own), tmp_path)
    assert not begun_by(launch({**own, "TORCHELASTIC_RESTART_COUNT": "1", "TORCHELASTIC_RUN_ID": "other"}), tmp_path)
    assert not begun_by(None, tmp_path)
    for text in ("[]", "{", '{"launch": null}'):
        (tmp_path / "run.json").write_text(text)
        assert not begun_by(again, tmp_path)


# ------------------------------------------------------------------------------------------------ what ties processes together


class Told(Peers):
    """The first of three processes, to which the two others say that they have ``other``."""

    def gathered(self, tensor: Tensor) -> Tensor:
        return torch.stack([tensor, tensor, tensor + torch.tensor([0] * (len(tensor) - 1) + [1])])


def test_what_differs_is_told_with_the_processes() -> None:
    with pytest.raises(
        DivergedRanks,
        match="list of parameters, error synapses and optimiser states is another in processes 0, 1 than in process 2",
    ):
        check_same(Told(0, 3, "group"), {"a": 1})


@pytest.mark.parametrize(
    "text", ["[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:14526.", "NCCL error", "Broken pipe"]
)
def test_a_broken_connection_is_known_by_its_words(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_broken(RuntimeError(text))
    with pytest.raises(RuntimeError, match="mat1 and mat2"), noticing(Peers(0, 2, "group")):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError), noticing(ALONE):
        raise RuntimeError(text)
    monkeypatch.setattr("runtime.distributed.loss._missing", lambda peers: [1, 3])
    with pytest.raises(PeerLost, match="Processes 1, 3 of 4 no longer answer: killed"), noticing(Peers(0, 4, "group")):
        raise RuntimeError(text)


# ------------------------------------------------------------------------------------------------ checkpoints in shards


TREE: dict[str, Any] = {
    "place": {"total": 3},
    "learner": {"a.b": torch.arange(6.0).view(2, 3), "n": torch.tensor(2)},
    "history": [],
    "measured": [],
}


def written(path: Path, folder: str = "shards-0123456789abcdef") -> Path:
    """``TREE`` as one process alone writes it through torch.distributed.checkpoint."""
    body, tensors = taken_apart(TREE, path)
    head: dict[str, Any] = {"body": json.dumps(body), "history": [], "measured": []}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save(dict(tensors), storage_writer=ShardWriter(path, folder, ALONE, head, {"rng": 1}), no_dist=True)
    return path


def test_shards_come_back_as_one_tree(tmp_path: Path) -> None:
    tree: Any = read_run(written(tmp_path / "checkpoint.safetensors"))
    assert tree["place"] == {"total": 3, "rng": 1}
    assert torch.equal(tree["learner"]["a.b"], TREE["learner"]["a.b"])
    assert torch.equal(tree["learner"]["n"], TREE["learner"]["n"])
    assert load_shards(tmp_path / "checkpoint.safetensors", Peers(1, 2, "group"))[1] is None


def test_nothing_in_a_checkpoint_is_a_pickle(tmp_path: Path) -> None:
    written(tmp_path / "checkpoint.safetensors")
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"checkpoint.safetensors", "0.safetensors"}


def test_shards_that_are_missing_damaged_or_anothers_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "checkpoint.safetensors")
    shard = tmp_path / "shards-0123456789abcdef" / "0.safetensors"
    data = shard.read_bytes()
    for position in (3, 60, len(data) // 2, len(data) - 3):
        shard.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(CheckpointError, match=r"0\.safetensors"):
            read_run(path)
    written(path, "shards-0000000000000000")
    shard.unlink()
    assert read_run(path)
    (tmp_path / "shards-0000000000000000" / "0.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match=r"There is no checkpoint '[^']*0\.safetensors'. Check the path, or save one there first\.$"
    ):
        read_run(path)
    written(path)
    written(path, "shards-0000000000000000")
    (tmp_path / "shards-0000000000000000" / "0.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"The checkpoint before it, .*checkpoint\.previous\.safetensors', is whole"):
        read_run(path)
    path = written(tmp_path / "once.safetensors")
    shard.unlink()
    with pytest.raises(CheckpointError, match=r"There is no checkpoint .*0\.safetensors"):
        read_run(path)
    written(tmp_path / "other.safetensors", "shards-fedcba9876543210")
    shutil.copy(tmp_path / "shards-fedcba9876543210" / "0.safetensors", shard)
    with pytest.raises(CheckpointError, match="belongs to another checkpoint"):
        read_run(path)


@pytest.mark.parametrize(
    "head",
    [
        {},
        {"shards": "../elsewhere", "size": 1, "tensors": {}, "body": "{}"},
        {"shards": "shards-0123456789abcdef", "size": 1, "tensors": {"a": 7}, "body": "{}"},
        {"shards": "shards-0123456789abcdef", "size": 1, "tensors": {}, "body": "{"},
        {"shards": "shards-0123456789abcdef", "size": 1, "tensors": [], "body": "{}"},
    ],
)
def test_heads_that_fit_did_not_write_are_refused(tmp_path: Path, head: dict[str, Any]) -> None:
    save_tree(tmp_path / "checkpoint.safetensors", head, "run in shards")
    with pytest.raises(CheckpointError, match="fit did not write it"):
        read_run(tmp_path / "checkpoint.safetensors")


def test_shards_of_the_last_two_checkpoints_stay(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    names = [f"shards-{number:016x}" for number in range(3)]
    for name in names:
        written(path, name)
    (tmp_path / "shards-mine").mkdir()
    clear_shards(path)
    assert sorted(folder.name for folder in tmp_path.glob("shards-*")) == [*names[1:], "shards-mine"]
    save_tree(path, TREE, "run", previous_of(path))
    save_tree(path, TREE, "run", previous_of(path))
    clear_shards(path)
    assert [folder.name for folder in tmp_path.glob("shards-*")] == ["shards-mine"]
