"""Files of data sets: read right, refused with their name when they are wrong."""

from __future__ import annotations

import gzip
import io
import re
import struct
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from nnlab.data import ImageFolder, SampleKey, read_image
from nnlab.data import transforms as T
from nnlab.data.readers import read_cifar10, read_cifar100, read_digits, read_idx
from nnlab.errors import ArgumentError, DataError, MissingExtraError

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(">HBB", 0, CODES[array.dtype.str[1:]], array.ndim)
    return header + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("dtype", list(CODES))
@pytest.mark.parametrize("zipped", [False, True])
def test_idx(tmp_path: Path, dtype: str, zipped: bool) -> None:
    array = (np.random.default_rng(0).random((3, 4, 5)) * 200 - (dtype[0] != "u") * 100).astype(dtype)
    data = idx_bytes(array)
    path = tmp_path / ("file.gz" if zipped else "file")
    path.write_bytes(gzip.compress(data) if zipped else data)
    result = read_idx(path)
    assert result.dtype == array.dtype
    assert result.dtype.isnative
    np.testing.assert_array_equal(result, array)


GOOD = idx_bytes(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "an empty file"),
        (b"\0\0", "got 00 00"),
        (b"PK\x03\x04" + GOOD, "got 50 4b 03 04"),
        (b"\0\0\x0a\x03" + GOOD[4:], "got 00 00 0a 03"),
        (b"\0\0\x08\x00", "got 00 00 08 00"),
        (GOOD[:10], "expected a header of 16 bytes, found 10 bytes"),
        (GOOD[:-1], r"expected 40 bytes for shape (2, 3, 4), found 39 bytes"),
        (GOOD + b"\0", r"expected 40 bytes for shape (2, 3, 4), found 41 bytes"),
        (GOOD[:4] + b"\xff" * 12 + GOOD[16:], "found 40 bytes"),
    ],
)
def test_broken_idx(tmp_path: Path, data: bytes, told: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"{re.escape(str(path))}.*{re.escape(told)}"):
        read_idx(path)


@pytest.mark.parametrize("damage", ["cut", "flipped", "not zipped", "missing"])
def test_broken_gz(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "labels.gz"
    data = bytearray(gzip.compress(GOOD))
    if damage == "cut":
        del data[-10:]
    elif damage == "flipped":
        data[15] ^= 255
    elif damage == "not zipped":
        data = bytearray(GOOD)
    if damage != "missing":
        path.write_bytes(data)
    size = "no such file" if damage == "missing" else f"{len(data)} bytes"
    with pytest.raises(DataError, match=f"{re.escape(str(path))}.*{size}"):
        read_idx(path)


def cifar_files(labels: int, classes: int, names: list[str]) -> dict[str, tuple[bytes, np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(1)
    result = {}
    for name in names:
        pixels = rng.integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
        tags = rng.integers(0, classes, (4, labels), dtype=np.uint8)
        data = b"".join(tags[i].tobytes() + pixels[i].tobytes() for i in range(4))
        result[name] = (data, pixels.transpose(0, 2, 3, 1), tags[:, -1])
    return result


CIFAR10 = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]


def as_archive(path: Path, folder: str, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in reversed(files.items()):  # not in the order in which they are wanted
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize("archive", [False, True])
def test_cifar10(tmp_path: Path, archive: bool) -> None:
    files = cifar_files(1, 10, CIFAR10)
    path = tmp_path
    if archive:
        path = as_archive(tmp_path / "c.tar.gz", "cifar-10-batches-bin", {n: f[0] for n, f in files.items()})
    else:
        for name, (data, _, _) in files.items():
            (tmp_path / name).write_bytes(data)
    images, labels = read_cifar10(path)
    parts = [files[name] for name in CIFAR10[:5]]
    np.testing.assert_array_equal(images, np.concatenate([part[1] for part in parts]))
    np.testing.assert_array_equal(labels, np.concatenate([part[2] for part in parts]))
    assert labels.dtype == np.int64
    images, labels = read_cifar10(path, train=False)
    np.testing.assert_array_equal(images, files["test_batch.bin"][1])


def test_cifar100_takes_the_fine_label(tmp_path: Path) -> None:
    files = cifar_files(2, 100, ["train.bin", "test.bin"])
    for name, (data, _, _) in files.items():
        (tmp_path / name).write_bytes(data)
    images, labels = read_cifar100(tmp_path)
    np.testing.assert_array_equal(images, files["train.bin"][1])
    np.testing.assert_array_equal(labels, files["train.bin"][2])
    np.testing.assert_array_equal(read_cifar100(tmp_path, train=False)[1], files["test.bin"][2])


def test_broken_cifar(tmp_path: Path) -> None:
    data = cifar_files(1, 10, ["test_batch.bin"])["test_batch.bin"][0]
    file = tmp_path / "test_batch.bin"
    with pytest.raises(DataError, match=r"has no file test_batch\.bin"):
        read_cifar10(tmp_path, train=False)
    file.write_bytes(data[:-100])
    with pytest.raises(DataError, match=rf"{re.escape(str(file))}: expected a multiple of 3073 bytes, found 12192"):
        read_cifar10(tmp_path, train=False)
    file.write_bytes(data)
    with pytest.raises(DataError, match=r"expected 10000 \* 3073 bytes, found 12292 bytes"):
        read_cifar10(tmp_path, train=False, records=10000)
    file.write_bytes(b"\x0a" + data[1:])
    with pytest.raises(DataError, match="labels must be below 10, found 10"):
        read_cifar10(tmp_path, train=False)
    archive = as_archive(tmp_path / "c.tar.gz", "x", {"test_batch.bin": np.random.default_rng(0).bytes(3073 * 4)})
    archive.write_bytes(archive.read_bytes()[:9000])
    with pytest.raises(DataError, match=r"c\.tar\.gz \(9000 bytes\)"):
        read_cifar10(archive, train=False)
    with pytest.raises(DataError, match="no such file"):
        read_cifar10(tmp_path / "nowhere.tar.gz")


def test_digits() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    images, labels = read_digits()
    assert images.shape == (1797, 8, 8)
    assert images.dtype == np.uint8
    original = datasets.load_digits()
    np.testing.assert_array_equal(np.rint(images / 255 * 16), original.images)
    np.testing.assert_array_equal(labels, original.target)
    assert images.max() == 255


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of pictures of several sizes and kinds, among things that are not pictures."""
    pillow = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for name, shape in [
        ("dogs/b.jpg", (9, 14, 3)),
        ("dogs/a.png", (8, 8, 3)),
        ("dogs/deep/c.PNG", (7, 5)),
        ("cats/x.png", (6, 10, 4)),
    ]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pillow.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path)
    (tmp_path / "dogs" / "notes.txt").write_text("not a picture")
    (tmp_path / "dogs" / ".hidden.png").write_text("not a picture")
    (tmp_path / "README").write_text("not a class")
    (tmp_path / ".git").mkdir()
    return tmp_path


def test_files_are_sorted_whatever_the_file_system_says(tmp_path: Path) -> None:
    wanted = sorted(f"class/{place}/{name}.png" for place in "zamkb" for name in "ycx")
    for name in reversed(wanted):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [str(Path(file).relative_to(tmp_path)) for file, _ in ImageFolder(tmp_path).samples] == wanted


def test_image_folder(folder: Path) -> None:
    dataset = ImageFolder(folder)
    assert dataset.classes == ["cats", "dogs"]
    assert dataset.class_to_idx == {"cats": 0, "dogs": 1}
    assert [Path(file).name for file, _ in dataset.samples] == ["x.png", "a.png", "b.jpg", "c.PNG"]
    assert dataset.targets.tolist() == [0, 1, 1, 1]
    assert [dataset.image(i).shape for i in range(4)] == [(6, 10, 3), (8, 8, 3), (9, 14, 3), (7, 5, 3)]
    image, label = dataset[1]
    assert image.shape == (3, 8, 8)
    assert image.dtype == np.float32
    assert label == 1
    np.testing.assert_array_equal(np.rint(image * 255), dataset.image(1).transpose(2, 0, 1))
    grey = ImageFolder(folder, mode="L")
    assert grey.channels == 1
    assert grey.image(0).shape == (6, 10, 1)
    batch, labels = dataset.with_transform(T.Resize((4, 4))).batch([3, 0], SampleKey(0))
    assert batch.shape == (2, 3, 4, 4)
    assert labels.tolist() == [1, 0]
    part = dataset.select([2, 0])
    assert [Path(file).name for file, _ in part.samples] == ["b.jpg", "x.png"]
    assert part.targets.tolist() == [1, 0]


def test_image_folder_refuses(folder: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        ImageFolder(folder / "birds")
    with pytest.raises(DataError, match="one folder for each class"):
        ImageFolder(folder / "dogs" / "deep")
    with pytest.raises(DataError, match="'cats' is not one of the classes"):
        ImageFolder(folder, classes=["dogs", "birds"])
    assert ImageFolder(folder, classes=["dogs", "birds", "cats"]).targets.tolist() == [2, 0, 0, 0]
    with pytest.raises(ArgumentError, match="mode"):
        ImageFolder(folder, mode="HSV")
    (folder / "birds").mkdir()
    with pytest.raises(DataError, match=rf"class folder {re.escape(str(folder / 'birds'))} holds no image"):
        ImageFolder(folder)


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_broken_pictures_are_named(tmp_path: Path, kind: str) -> None:
    pillow = pytest.importorskip("PIL.Image")
    path = tmp_path / f"picture.{kind}"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    pillow.fromarray(pixels).save(path)
    data = path.read_bytes()
    assert read_image(path).shape == (40, 40, 3)
    for broken in [data[: len(data) // 2], data[:10], b"", b"hello", data[:200] + bytes(200) + data[400:]]:
        path.write_bytes(broken)
        if kind == "jpg" and len(broken) == len(data):
            continue  # a JPEG with changed bytes in the middle is still a picture
        with pytest.raises(DataError, match=rf"cannot read {re.escape(str(path))} \({len(broken)} bytes\)"):
            read_image(path)
    with pytest.raises(DataError, match="no such file"):
        read_image(tmp_path / "nowhere.png")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtraError, match=r"nnlab\[vision\]"):
        read_image("x.png")
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"nnlab\[demo\]"):
        read_digits()
