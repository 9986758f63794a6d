"""CIFAR-100 and SVHN from files like the original ones."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from runtime.data import DataError, load_data
from runtime.data import cifar100 as cifar100_files


def test_cifar100_is_read_with_its_fine_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar100_files, "FILES", {"train.bin": 3, "test.bin": 2})
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    chance = np.random.default_rng(0)
    for name, count in cifar100_files.FILES.items():
        records = chance.integers(0, 256, (count, 2 + 3072), dtype=np.uint8)
        records[:, :2] = np.stack([np.full(count, 7), np.arange(count) + 97 if count == 3 else np.arange(count)], 1)
        (folder / name).write_bytes(records.tobytes())
    data = load_data("cifar100", tmp_path)
    assert data.classes == 100
    assert data.train.y.tolist() == [97, 98, 99]
    raw = np.frombuffer((folder / "train.bin").read_bytes(), np.uint8).reshape(3, -1)[1, 2:].reshape(3, 32, 32)
    wanted = (raw[2, 5, 6] / 255 - 0.4409) / 0.2762
    assert data.train.x[1, 2, 5, 6].item() == pytest.approx(wanted, abs=1e-5)
    (folder / "test.bin").write_bytes(b"short")
    with pytest.raises(DataError, match="cut short"):
        load_data("cifar100", tmp_path)


def test_svhn_is_read_from_its_matlab_files(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
    for name in ("train_32x32.mat", "test_32x32.mat"):
        savemat(tmp_path / name, {"X": images, "y": np.array([[10], [1], [9], [2]], dtype=np.uint8)})
    data = load_data("svhn", tmp_path)
    assert data.train.y.tolist() == [0, 1, 9, 2]
    assert data.train.x.shape == (4, 3, 32, 32)
    assert data.train.x.is_contiguous()
    assert data.train.x[2, 1, 5, 6].item() == pytest.approx(images[5, 6, 1, 2] / 255)
    (tmp_path / "test_32x32.mat").write_bytes(b"no Matlab file")
    with pytest.raises(DataError, match="damaged or no file of SVHN"):
        load_data("svhn", tmp_path)


@pytest.mark.parametrize("name", ["cifar100", "svhn"])
def test_without_a_folder_or_files_the_way_out_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Pass the folder"):
        load_data(name)
    with pytest.raises(DataError, match="Pass the folder"):
        load_data(name, tmp_path)
