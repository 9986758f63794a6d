"""CIFAR-10 from files made here: binary and Python version, every error, and a harmful pickle."""

import pickle
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from runtime.data import DataError, cifar, load_data

Bytes = npt.NDArray[np.uint8]
PER_FILE = 3


def batches() -> dict[str, tuple[Bytes, list[int]]]:
    """For each original file of CIFAR-10 three images and labels."""
    drawn = np.random.default_rng(0)
    stems = [*cifar.TRAIN, *cifar.TEST]
    return {stem: (drawn.integers(256, size=(PER_FILE, 3072), dtype=np.uint8), [n, n + 1, n + 2]) for n, stem in enumerate(stems)}


def python2_pickle(images: Bytes, labels: list[int]) -> bytes:
    """The dictionary as Python 2 and numpy 1 wrote it into the original files."""

    def text(value: str) -> bytes:
        return b"U" + bytes([len(value)]) + value.encode()

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    kind = b"cnumpy\ndtype\n" + text("u1") + number(0) + number(1) + b"\x87R"
    kind += b"(" + number(3) + text("|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    shape = number(images.shape[0]) + number(images.shape[1]) + b"\x86"
    raw = b"T" + struct.pack("<i", images.nbytes) + images.tobytes()
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85" + text("b") + b"\x87R"
    array += b"(" + number(1) + shape + kind + b"\x89" + raw + b"tb"
    listed = b"](" + b"".join(map(number, labels)) + b"e"
    return b"\x80\x02}(" + text("data") + array + text("labels") + listed + b"u."


@pytest.fixture
def binary_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cifar, "PER_FILE", PER_FILE)
    for stem, (images, labels) in batches().items():
        (tmp_path / f"{stem}.bin").write_bytes(np.insert(images, 0, labels, axis=1).tobytes())
    return tmp_path


@pytest.fixture
def pickled_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cifar, "PER_FILE", PER_FILE)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for stem, (images, labels) in batches().items():
        (folder / stem).write_bytes(python2_pickle(images, labels))
    return folder


def expected_cifar() -> tuple[torch.Tensor, list[int]]:
    """The normalised training images and labels of ``batches``."""
    train = [batches()[stem] for stem in cifar.TRAIN]
    pixels = torch.from_numpy(np.concatenate([images for images, _ in train])).reshape(-1, 3, 32, 32) / 255
    centred = pixels - torch.tensor([0.4914, 0.4822, 0.4465]).reshape(3, 1, 1)
    return centred / torch.tensor([0.2470, 0.2435, 0.2616]).reshape(3, 1, 1), [label for _, labels in train for label in labels]


@pytest.mark.parametrize("version", ["binary_cifar", "pickled_cifar"])
def test_both_versions_of_cifar10_are_read_and_normalised(version: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(version)
    images, labels = expected_cifar()
    data = load_data("cifar10", folder)
    assert (data.input_shape, len(data.test.y)) == ((3, 32, 32), PER_FILE)
    torch.testing.assert_close(data.train.x, images)
    assert data.train.y.tolist() == labels


def test_cifar10_is_found_inside_the_folder(pickled_cifar: Path) -> None:
    assert len(load_data("cifar10", pickled_cifar.parent, limit=2).train.y) == 2


@pytest.mark.parametrize(("extra", "state"), [(-1, "cut short: 9218"), (1, "too long: 9220")])
def test_binary_cifar10_of_another_length_is_refused(binary_cifar: Path, extra: int, state: str) -> None:
    path = binary_cifar / "data_batch_4.bin"
    path.write_bytes((path.read_bytes() + b"\0")[: 3 * 3073 + extra])
    with pytest.raises(DataError, match=f"data_batch_4.bin is {state} bytes, but 3 images with their labels make 9219"):
        load_data("cifar10", binary_cifar)


class Harmful:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_that_names_a_function_is_refused_and_not_run(pickled_cifar: Path, tmp_path: Path) -> None:
    (pickled_cifar / "test_batch").write_bytes(pickle.dumps({"data": Harmful(tmp_path / "touched"), "labels": []}))
    with pytest.raises(DataError, match=r"is no CIFAR-10 batch: it names .*, which is not part of a numpy array. Fetch"):
        load_data("cifar10", pickled_cifar)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([1, 2], "is no CIFAR-10 batch: it is no dictionary of an array 'data' and a list of numbers 'labels'"),
        ({"data": np.zeros((3, 3072), np.uint8), "labels": ["a"]}, "is no CIFAR-10 batch: it is no dictionary"),
        ({"data": np.zeros((3, 5), np.uint8), "labels": [0, 1, 2]}, r"holds images \[3, 5\] uint8 and 3 labels, but"),
        ({"data": np.zeros((3, 3072), np.uint8), "labels": [0, 1]}, r"uint8 and 2 labels, but .* has \[3, 3072\] uint8"),
        ({"data": np.zeros((3, 3072)), "labels": [0, 1, 2]}, r"holds images \[3, 3072\] float64"),
    ],
)
def test_other_pickles_are_refused(pickled_cifar: Path, batch: object, message: str) -> None:
    (pickled_cifar / "data_batch_2").write_bytes(pickle.dumps(batch, protocol=4))
    with pytest.raises(DataError, match=message):
        load_data("cifar10", pickled_cifar)


def test_a_pickle_that_is_cut_short_is_refused(pickled_cifar: Path) -> None:
    path = pickled_cifar / "data_batch_3"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"data_batch_3 is no CIFAR-10 batch: .*Fetch it again, or the binary version"):
        load_data("cifar10", pickled_cifar)
