"""The published files, where they are at hand."""

from __future__ import annotations

import hashlib
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from nnlab.data import DataLoader, channel_statistics, load, named
from nnlab.data import transforms as T


@pytest.mark.parametrize(
    ("name", "mean", "std", "train_counts", "test_counts"),
    [
        (
            "mnist", 0.1307, 0.3081,
            [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
            [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
        ),
        ("fashion-mnist", 0.2860, 0.3530, [6000] * 10, [1000] * 10),
    ],
)  # fmt: skip
def test_idx_sets(
    data_dir: Path, name: str, mean: float, std: float, train_counts: list[int], test_counts: list[int]
) -> None:
    if not (data_dir / name).is_dir():
        pytest.skip(f"no {name} in {data_dir}")
    train, test = load(name, root=data_dir), load(name, root=data_dir / name, train=False)
    assert train.data.shape == (60000, 28, 28, 1)
    assert test.data.shape == (10000, 28, 28, 1)
    assert np.bincount(train.targets).tolist() == train_counts
    assert np.bincount(test.targets).tolist() == test_counts
    computed = channel_statistics(train)
    np.testing.assert_allclose([computed[0][0], computed[1][0]], [mean, std], atol=5e-5)
    assert (train.mean, train.std) == ((mean,), (std,))


def test_fashion_mnist_checksums(data_dir: Path) -> None:
    """The checksums of the table are those of the published files."""
    if not (data_dir / "fashion-mnist").is_dir():
        pytest.skip(f"no fashion-mnist in {data_dir}")
    for name, checksum in named.SOURCES["fashion-mnist"].files.items():
        data = (data_dir / "fashion-mnist" / name).read_bytes()
        assert checksum == "sha256:" + hashlib.sha256(data).hexdigest()


def test_an_epoch_with_augmentation_takes_seconds(data_dir: Path) -> None:
    if not (data_dir / "fashion-mnist").is_dir():
        pytest.skip(f"no fashion-mnist in {data_dir}")
    dataset = load("fashion-mnist", root=data_dir)
    dataset.transform = T.Compose(
        [T.RandomCrop(28, padding=2), T.RandomHorizontalFlip(), T.Normalize(dataset.mean, dataset.std)]
    )
    started = time.process_time()
    images = sum(len(labels) for _, labels in DataLoader(dataset, 128, shuffle=True, seed=0))
    assert images == 60000
    assert time.process_time() - started < 10  # about 1 s on an idle core


def test_jpeg_folder(data_dir: Path, tmp_path: Path) -> None:
    archive = data_dir / "cifar10" / "cifar10-jpeg-subset.tar.gz"
    if not archive.is_file():
        pytest.skip(f"no {archive}")
    pytest.importorskip("PIL")
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    folder = next(path.parent for path in tmp_path.rglob("train") if path.is_dir())
    train, test = load(folder), load(folder, train=False)
    assert (len(train), len(test)) == (5000, 1000)
    assert train.classes == list(named.SOURCES["cifar10"].classes)
    assert np.bincount(test.targets).tolist() == [100] * 10
    mean = channel_statistics(train)[0]
    np.testing.assert_allclose(mean, [0.492, 0.482, 0.445], atol=0.004)  # that of training and test part together
    images, labels = next(iter(DataLoader(test, 16)))
    assert images.shape == (16, 3, 32, 32)
    assert labels.numpy().tolist() == [0] * 16
