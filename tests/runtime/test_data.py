"""Data sets by name: digits, IDX files made here, OpenML replaced, every error. CIFAR-10: ``test_data_cifar.py``."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import numpy.typing as npt
import pytest
import sklearn.datasets
import torch

from runtime.data import Data, DataError, Split, cifar, load_data, openml, standardise
from wiring.errors import ErrorwireError

Bytes = npt.NDArray[np.uint8]
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def idx(array: Bytes) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


def write_mnist(folder: Path, zipped: bool) -> None:
    """Six training and four test images of 3x2 pixels counting upwards; labels 0, 1, 2, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, number in (("train", 6), ("t10k", 4)):
        images = np.arange(number * 6, dtype=np.uint8).reshape(number, 3, 2)
        for kind, array in (("images-idx3", images), ("labels-idx1", np.arange(number, dtype=np.uint8))):
            path = folder / f"{part}-{kind}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))


def test_digits_come_split_and_scaled() -> None:
    data = load_data("digits")
    assert (data.name, data.classes, data.input_shape) == ("digits", 10, (1, 8, 8))
    assert data.train.x.shape == (1437, 1, 8, 8)
    assert data.test.x.shape == (360, 1, 8, 8)
    assert (data.train.x.dtype, data.train.y.dtype) == (torch.float32, torch.int64)
    assert (float(data.train.x.min()), float(data.train.x.max())) == (0.0, 1.0)
    assert int(data.train.y.bincount().min()) > 100


def test_the_seed_alone_decides_the_split_of_digits() -> None:
    first, again, other = load_data("digits", seed=1), load_data("digits", seed=1), load_data("digits", seed=2)
    assert torch.equal(first.train.x, again.train.x)
    assert not torch.equal(first.train.y, other.train.y)
    everything = [torch.cat([data.train.x, data.test.x]).sum() for data in (first, other)]
    torch.testing.assert_close(*everything)


def test_digits_are_laid_out_as_fresh_tensors() -> None:
    data = load_data("digits")
    for found in (data, load_data("digits", limit=40), standardise(data)):
        for split in (found.train, found.test):
            assert split.x.stride() == torch.empty(split.x.shape).stride()


def test_a_limit_keeps_the_first_images_and_lets_the_others_go() -> None:
    whole, part = load_data("digits"), load_data("digits", limit=400)
    assert (len(part.train.y), len(part.test.y)) == (400, 360)
    assert torch.equal(part.train.x, whole.train.x[:400])
    assert part.train.x.untyped_storage().nbytes() == 400 * 64 * 4


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(("name", "inner"), [("mnist", "."), ("fashion-mnist", "fashion-mnist"), ("mnist", "MNIST/raw")])
def test_idx_files_are_read(tmp_path: Path, zipped: bool, name: str, inner: str) -> None:
    write_mnist(tmp_path / inner, zipped)
    data = load_data(name, tmp_path)
    assert (data.name, data.input_shape) == (name, (1, 3, 2))
    torch.testing.assert_close(data.train.x.flatten() * 255, torch.arange(36.0))
    assert data.test.y.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (IMAGES, b"\0\0", r"is cut short: 2 bytes, and the header alone has 16. Fetch the file again."),
        (IMAGES, idx(np.zeros(6, np.uint8)) + bytes(8), r"begins with the number 0x00000801, .* begins with 0x00000803"),
        (IMAGES, idx(np.zeros((6, 3, 2), np.uint8))[:-1], r"is cut short: 51 bytes, but .* 6x3x2 entries make 52"),
        (IMAGES, idx(np.zeros((6, 3, 2), np.uint8)) + b"\0", r"is too long: 53 bytes, but .* make 52"),
        (LABELS, idx(np.zeros(5, np.uint8)), r"do not fit together: There are 6 images and 5 labels"),
        (LABELS, idx(np.full(6, 10, np.uint8)), r"training labels of 'mnist' run from 10 to 10, but its 10 classes are 0 to 9"),
        (IMAGES, idx(np.zeros((6, 2, 2), np.uint8)), r"training images .* have shape \(1, 2, 2\) and the test .* \(1, 3, 2\)"),
    ],
)
@pytest.mark.parametrize("limit", [None, 1])
def test_damaged_idx_files_are_refused_whole(tmp_path: Path, file: str, content: bytes, message: str, limit: int | None) -> None:
    write_mnist(tmp_path, zipped=False)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_data("mnist", tmp_path, limit=limit)


def test_empty_idx_files_are_refused(tmp_path: Path) -> None:
    write_mnist(tmp_path, zipped=False)
    (tmp_path / IMAGES).write_bytes(idx(np.zeros((0, 3, 2), np.uint8)))
    (tmp_path / LABELS).write_bytes(idx(np.zeros(0, np.uint8)))
    with pytest.raises(DataError, match="There are no images"):
        load_data("mnist", tmp_path)


@pytest.mark.parametrize("damage", [lambda packed: packed[:-9], lambda packed: b"<html>", lambda packed: packed + b"x"])
def test_damaged_gzip_files_are_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    write_mnist(tmp_path, zipped=True)
    path = tmp_path / f"{LABELS}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"labels-idx1-ubyte.gz is cut short or no gzip file \(.*\). Fetch the file again"):
        load_data("mnist", tmp_path)


def test_missing_files_are_named_with_where_they_were_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'mnist' needs train-images-idx3-ubyte or .*gz, .*MNIST/raw. Pass the folder") as e:
        load_data("mnist", tmp_path)
    assert str(tmp_path / "mnist") in str(e.value)
    write_mnist(tmp_path, zipped=True)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte.gz cannot be read \(No such file or directory\). Put the"):
        load_data("mnist", tmp_path)


@pytest.mark.parametrize(("name", "shape"), [("mnist", (1, 2, 2)), ("cifar10", (3, 2, 2))])
def test_without_a_folder_openml_is_asked(monkeypatch: pytest.MonkeyPatch, name: str, shape: tuple[int, int, int]) -> None:
    size = shape[0] * 4
    table = np.arange(5 * size, dtype=np.float64).reshape(5, size)
    answer = SimpleNamespace(data=table, target=np.array(["0", "1", "2", "3", "4"], dtype=object))
    monkeypatch.setitem(openml.SOURCES, name, openml.Source("tiny", 3, 2, shape))
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", lambda title, **options: answer)
    data = load_data(name)
    assert (data.train.y.tolist(), data.test.y.tolist()) == ([0, 1, 2], [3, 4])
    pixels = torch.from_numpy(table[:3]).float().reshape(3, *shape) / 255
    if shape[0] == 3:
        pixels = (pixels - torch.tensor(cifar.SCALE[0])[:, None, None]) / torch.tensor(cifar.SCALE[1])[:, None, None]
    torch.testing.assert_close(data.train.x, pixels)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_without_network_a_folder_is_asked_for(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def refuse(title: str, **options: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", refuse)
    message = rf"'{name}' cannot be fetched from OpenML \(URLError: .*no route to host.*\). Check the network, or pass the f"
    with pytest.raises(DataError, match=message):
        load_data(name)


def test_a_table_of_another_shape_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = SimpleNamespace(data=np.zeros((5, 4)), target=np.zeros(5))
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", lambda title, **options: answer)
    with pytest.raises(DataError, match=r"'mnist_784' has shape \[5, 4\] in place of \[70000, 784\]. Pass the folder"):
        load_data("mnist")


def test_unknown_names_and_impossible_limits_are_refused() -> None:
    with pytest.raises(DataError, match=r"'mnits' is not known. Did you mean 'mnist'\? The data sets are digits, mnist, fas"):
        load_data("mnits")
    with pytest.raises(DataError, match=r"The limit of images is 0. Give a whole number from 1 on, or none."):
        load_data("digits", limit=0)
    assert issubclass(DataError, ErrorwireError)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(2).long(), r"Images must be \[N, C, H, W\] float32, not \[2, 3\] torch.float32"),
        (torch.zeros(2, 1, 3, 3).double(), torch.zeros(2).long(), r"not \[2, 1, 3, 3\] torch.float64"),
        (torch.zeros(2, 1, 3, 3), torch.zeros(2), r"Labels must be \[N\] int64, not \[2\] torch.float32"),
    ],
)
def test_a_split_checks_shapes_and_types(x: torch.Tensor, y: torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Split(x, y)


def test_labels_below_zero_are_refused() -> None:
    good = Split(torch.zeros(2, 1, 3, 3), torch.tensor([0, 1]))
    bad = Split(torch.zeros(2, 1, 3, 3), torch.tensor([0, -1]))
    with pytest.raises(DataError, match="The test labels of 'made' run from -1 to 0, but its 2 classes are 0 to 1"):
        Data("made", good, bad, classes=2)
