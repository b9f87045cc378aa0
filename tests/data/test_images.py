"""Image data sets, their statistics and splits, and data sets by name."""

from __future__ import annotations

import gzip
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlab.data import ArrayImages, SampleKey, channel_statistics, load, named, sample_rng, stratified_split
from nnlab.data import transforms as T
from nnlab.data.images import finish
from nnlab.errors import ArgumentError, DataError, ShapeError
from tests.data.test_readers import CIFAR10, as_archive, cifar_files, idx_bytes
from tests.data.worker_sets import augmented_images


def test_array_images() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    dataset = ArrayImages(pixels, [0, 1, 2, 1, 0], ["a", "b", "c"])
    assert (len(dataset), dataset.channels, dataset.class_to_idx) == (5, 1, {"a": 0, "b": 1, "c": 2})
    image, label = dataset[-1]
    np.testing.assert_array_equal(image, pixels[-1:].astype(np.float32) / 255)
    assert (label, type(label)) == (0, int)
    part = dataset.select([3, 1])
    np.testing.assert_array_equal(part.data, pixels[[3, 1], :, :, None])
    assert part.targets.tolist() == [1, 1]
    with pytest.raises(IndexError):
        dataset[5]


def test_a_batch_is_its_samples_bit_for_bit() -> None:
    dataset, key = augmented_images(), SampleKey(4, 7)
    images, labels = dataset.batch([3, 49, 0, -1], key)
    assert images.dtype == np.float32
    assert images.flags.c_contiguous
    for position, index in enumerate([3, 49, 0, 49]):
        image, label = dataset.sample(index, key)
        np.testing.assert_array_equal(images[position], image)
        assert labels[position] == label
    np.testing.assert_array_equal(dataset.sample(-1, key)[0], dataset.sample(49, key)[0])
    wanted = finish(dataset.transform(dataset.image(3), sample_rng(4, 7, 3)))
    np.testing.assert_array_equal(images[0], wanted)


def test_crops_of_a_batch() -> None:
    dataset = augmented_images(4).with_transform(T.TenCrop(6))
    assert dataset.batch([0, 1], SampleKey(0))[0].shape == (2, 10, 3, 6, 6)
    assert dataset[0][0].shape == (10, 3, 6, 6)


def test_array_images_refuses() -> None:
    with pytest.raises(DataError, match=r"targets.*0\.\.1, got 2"):
        ArrayImages(np.zeros((2, 3, 3), np.uint8), [0, 2], ["a", "b"])
    with pytest.raises(ShapeError, match=r"uint8 \(2, H, W\).*float64"):
        ArrayImages(np.zeros((2, 3, 3)), [0, 1], ["a", "b"])
    with pytest.raises(ShapeError, match=r"\(3, 3, 3\)"):
        ArrayImages(np.zeros((3, 3, 3), np.uint8), [0, 1], ["a", "b"])


def test_statistics() -> None:
    dataset = augmented_images()
    mean, std = channel_statistics(dataset)
    values = dataset.data.reshape(-1, 3) / 255
    np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, values.std(axis=0), rtol=1e-9)
    assert (dataset.mean, dataset.std) == (mean, std)
    some = channel_statistics(dataset, limit=10)
    np.testing.assert_allclose(some[0], dataset.data[::5].reshape(-1, 3).mean(axis=0) / 255, rtol=1e-12)
    assert dataset.select(range(10)).mean == channel_statistics(dataset.select(range(10)))[0]
    known = ArrayImages(dataset.data, dataset.targets, dataset.classes, mean=(1, 2, 3), std=(4, 5, 6))
    assert (known.select([0]).mean, known.std) == ((1, 2, 3), (4, 5, 6))
    with pytest.raises(ArgumentError, match="hold an image"):
        channel_statistics(dataset.select([]))


@given(st.lists(st.integers(0, 4), min_size=2, max_size=80), st.floats(0.05, 0.95), st.integers(0, 9))
def test_stratified_split(labels: list[int], fraction: float, seed: int) -> None:
    targets = np.array(labels)
    first, second = stratified_split(targets, fraction, seed)
    assert sorted([*first, *second]) == list(range(len(labels)))
    for label in set(labels):
        count, held_back = labels.count(label), int((targets[second] == label).sum())
        assert abs(held_back - fraction * count) <= 1
        if count > 1:
            assert 0 < held_back < count
    again = stratified_split(targets, fraction, seed)
    np.testing.assert_array_equal(second, again[1])


def test_stratified_split_refuses() -> None:
    with pytest.raises(ArgumentError, match="fraction"):
        stratified_split(np.array([0, 1]), 1.0)


def test_unknown_names() -> None:
    with pytest.raises(ArgumentError, match=r"digits, mnist, fashion-mnist, cifar10, cifar100 or a folder.*'minst'"):
        load("minst")


def test_digits() -> None:
    pytest.importorskip("sklearn.datasets")
    train, test = load("digits"), load("digits", train=False)
    assert (len(train), len(test)) == (1438, 359)
    assert train.classes == list("0123456789")
    assert np.bincount(test.targets).tolist() == [36, 36, 35, 37, 36, 36, 36, 36, 35, 36]
    assert train.mean == test.mean
    assert 0.30 < train.mean[0] < 0.31
    both = {image.tobytes() for image in train.data} & {image.tobytes() for image in test.data}
    assert not both  # scikit-learn's digits are all different
    np.testing.assert_array_equal(load("digits", train=False).data, test.data)
    assert not np.array_equal(load("digits", train=False, split_seed=1).data, test.data)
    assert len(load("digits", val_fraction=0.5)) == 899


def write_mnist(folder: Path, zipped: bool = True) -> dict[str, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in [("train", 20), ("t10k", 10)]:
        arrays[f"{part}-images-idx3-ubyte"] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{part}-labels-idx1-ubyte"] = rng.integers(0, 10, count, dtype=np.uint8)
    for name, array in arrays.items():
        data = idx_bytes(array)
        path = folder / (name + ".gz" if zipped else name)
        path.write_bytes(gzip.compress(data) if zipped else data)
    return arrays


@pytest.mark.parametrize(("where", "zipped"), [("", True), ("", False), ("mnist", True)])
def test_mnist_from_a_folder(tmp_path: Path, where: str, zipped: bool) -> None:
    arrays = write_mnist(tmp_path / where, zipped)
    for train, part in [(True, "train"), (False, "t10k")]:
        dataset = load("mnist", root=tmp_path, train=train)
        np.testing.assert_array_equal(dataset.data[..., 0], arrays[f"{part}-images-idx3-ubyte"])
        np.testing.assert_array_equal(dataset.targets, arrays[f"{part}-labels-idx1-ubyte"])
        assert (dataset.mean, dataset.std, dataset.channels) == ((0.1307,), (0.3081,), 1)
    assert len(pickle.dumps(dataset)) < 100_000


def test_mnist_that_is_not_there_or_not_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=rf"'mnist' is not in {re.escape(str(tmp_path / 'mnist'))} or .*train-images"):
        load("mnist", root=tmp_path)
    monkeypatch.setenv("NNLAB_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(DataError, match=re.escape(str(tmp_path / "cache" / "data" / "mnist"))):
        load("mnist")
    write_mnist(tmp_path, zipped=False)
    labels = tmp_path / "train-labels-idx1-ubyte"
    good = labels.read_bytes()
    labels.write_bytes(idx_bytes(np.zeros(19, np.uint8)))
    with pytest.raises(DataError, match=rf"{re.escape(str(labels))}: expected 20 labels, found shape \(19,\)"):
        load("mnist", root=tmp_path)
    labels.write_bytes(good[:-1] + b"\x0b")
    with pytest.raises(DataError, match="labels of 'mnist' must be below 10, found 11"):
        load("mnist", root=tmp_path)
    labels.write_bytes(good)
    images = tmp_path / "train-images-idx3-ubyte"
    images.write_bytes(labels.read_bytes())
    with pytest.raises(DataError, match=r"expected uint8 images \(N, H, W\)"):
        load("mnist", root=tmp_path)


@pytest.mark.parametrize("place", ["cifar10/cifar-10-batches-bin", "cifar-10-batches-bin", "", "cifar10"])
def test_cifar10_from_a_folder(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four records a file here; the published files hold 10000, and a shorter one is refused."""
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    files = cifar_files(1, 10, CIFAR10)
    for name, (data, _, _) in files.items():
        (tmp_path / place / name).write_bytes(data)
    with pytest.raises(DataError, match=r"data_batch_1\.bin: expected 10000 \* 3073 bytes, found 12292"):
        load("cifar10", root=tmp_path)
    monkeypatch.setattr(named, "read_cifar10", lambda path, train, records: named_reader(path, train))
    dataset = load("cifar10", root=tmp_path, train=False)
    np.testing.assert_array_equal(dataset.data, files["test_batch.bin"][1])
    assert (dataset.classes[3], dataset.channels, len(dataset.mean)) == ("cat", 3, 3)


def named_reader(path: Path, train: bool) -> named.Arrays:
    from nnlab.data.readers.cifar import read_cifar10

    return read_cifar10(path, train)


def test_cifar100_archive_and_class_names(tmp_path: Path) -> None:
    files = cifar_files(2, 100, ["train.bin", "test.bin"])
    as_archive(tmp_path / "cifar-100-binary.tar.gz", "cifar-100-binary", {n: f[0] for n, f in files.items()})
    with pytest.raises(
        DataError, match=r"cifar-100-binary\.tar\.gz/train\.bin: expected 50000 \* 3074 bytes, found 12296"
    ):
        load("cifar100", root=tmp_path)
    with pytest.raises(DataError, match=r"test\.bin: expected 10000 \* 3074"):
        load("cifar100", root=tmp_path, train=False)
    classes = named.SOURCES["cifar100"].classes
    assert len(set(classes)) == 100
    assert list(classes) == sorted(classes)


def write_pictures(folder: Path, names: str, count: int, start: int = 0) -> None:
    pillow = pytest.importorskip("PIL.Image")
    for i, name in enumerate(names):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for j in range(count):
            pixels = np.full((4, 5, 3), start + i * count + j, np.uint8)
            pillow.fromarray(pixels).save(folder / name / f"{j:03}.png")


@pytest.mark.parametrize("held_back", ["val", "valid", "validation", "test"])
def test_folder_in_two_parts(tmp_path: Path, held_back: str) -> None:
    write_pictures(tmp_path / "train", "abc", 3)
    write_pictures(tmp_path / held_back, "ac", 2, start=100)
    train, part = load(str(tmp_path)), load(tmp_path, train=False)
    assert (len(train), len(part)) == (9, 4)
    assert part.classes == train.classes == ["a", "b", "c"]
    assert part.targets.tolist() == [0, 0, 2, 2]
    assert part.mean == train.mean == channel_statistics(train)[0]
    assert train.channels == 3


def test_folder_without_the_other_part(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train", "ab", 1)
    load(tmp_path)
    with pytest.raises(DataError, match=r"has train/ but none of val, valid"):
        load(tmp_path, train=False)


def test_folder_in_one_part_is_split_by_class(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pets", "ab", 10)
    train, part = load("pets", root=tmp_path), load("pets", root=tmp_path, train=False)
    assert np.bincount(train.targets).tolist() == [8, 8]
    assert np.bincount(part.targets).tolist() == [2, 2]
    seen = [int(dataset.image(i)[0, 0, 0]) for dataset in (train, part) for i in range(len(dataset))]
    assert sorted(seen) == list(range(20))
    assert part.samples == load(tmp_path / "pets", train=False).samples
    assert part.mean == train.mean
