"""From pictures to inputs, and from a configuration to its parts."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from nnlab import nn, optim
from nnlab.data import ArrayImages
from nnlab.data import transforms as T
from nnlab.errors import ArgumentError, CheckpointError
from nnlab.optim.lr_scheduler import ReduceLROnPlateau
from nnlab.train.assemble import build_optimizer, build_scheduler, rate_factor
from nnlab.train.config import OPTIMIZERS, TrainConfig
from nnlab.train.preprocess import Preprocess, common_size


def _names(transform: T.Compose) -> list[str]:
    return [type(step).__name__ for step in transform.transforms]


def test_pictures_of_the_right_size_are_only_normalised() -> None:
    rng = np.random.default_rng(0)
    data = ArrayImages(rng.integers(0, 256, (5, 8, 8), np.uint8), np.arange(5) % 2, ["a", "b"], mean=[0.5], std=[0.25])
    preprocess = Preprocess.of(data, 8)
    assert (preprocess.channels, preprocess.native, preprocess.classes) == (1, [8, 8], ["a", "b"])
    expected = (data.data[2, :, :, 0] / 255 - 0.5) / 0.25
    got = preprocess.input(data.data[2])
    assert got.dtype == np.float32 and got.shape == (1, 1, 8, 8)
    np.testing.assert_allclose(got[0, 0], expected, atol=1e-6)
    # The same as in validation, bit for bit, and back again.
    sample = data.with_transform(preprocess.evaluation())[2][0]
    np.testing.assert_array_equal(got[0], sample)
    np.testing.assert_allclose(preprocess.to_image(sample)[0], data.data[2, :, :, 0] / 255, atol=1e-6)


def test_common_size() -> None:
    class Folder(list):  # type: ignore[type-arg]
        def image(self, i: int) -> np.ndarray:
            return np.zeros((*self[i], 3), np.uint8)

    assert common_size(Folder([(3, 4)] * 50)) == (3, 4)
    assert common_size(Folder([(3, 4)] * 5 + [(4, 4)] * 45)) is None


def test_pictures_of_other_sizes() -> None:
    # Whole squares are resized; others: shorter side to size / 0.875, then the middle.
    square = Preprocess(16, 1, [0.0], [1.0], ["a"], native=[8, 8])
    assert _names(square.evaluation()) == ["Grayscale", "Resize", "Normalize"]
    mixed = Preprocess(14, 3, [0.0] * 3, [1.0] * 3, ["a"])
    assert _names(mixed.evaluation()) == ["ToRGB", "Resize", "CenterCrop", "Normalize"]
    picture = np.zeros((16, 64, 3), np.uint8)
    picture[:, 25:39] = 255  # the 14 columns in the middle
    got = mixed.input(picture)
    assert got.shape == (1, 3, 14, 14)
    np.testing.assert_array_equal(got, 1.0)


def test_augmentation() -> None:
    small = Preprocess(8, 1, [0.0], [1.0], ["a"], native=[8, 8])
    large = Preprocess(96, 3, [0.0] * 3, [1.0] * 3, ["a"])
    assert _names(small.training("auto")) == ["Grayscale", "Resize", "RandomCrop", "Normalize"]
    assert _names(large.training("auto")) == ["ToRGB", "RandomResizedCrop", "RandomHorizontalFlip", "Normalize"]
    assert _names(small.training("none")) == _names(small.evaluation())
    every = _names(large.training("crop, shift,flip,jitter,pca,erase"))
    assert every[1:4] == ["RandomResizedCrop", "RandomCrop", "RandomHorizontalFlip"]
    assert every[4:] == ["ColorJitter", "PCANoise", "Normalize", "RandomErasing"]
    pictures, rngs = np.zeros((2, 8, 8, 1), np.uint8), [np.random.default_rng(0)] * 2
    assert small.training("shift,erase").batch(pictures, rngs).shape == (2, 8, 8, 1)
    with pytest.raises(ArgumentError, match=r"'augment' must be auto, none, or a list out of shift, .*got 'flip,spin'"):
        small.training("flip,spin")
    with pytest.raises(ArgumentError, match="'pca' needs colour pictures, got 1 channel"):
        small.training("pca")


def test_file(tmp_path: Path) -> None:
    preprocess = Preprocess(8, 3, [0.1, 0.2, 0.3], [0.4, 0.5, 0.6], ["Straße", "b"], None)
    preprocess.save(tmp_path)
    assert Preprocess.load(tmp_path) == preprocess
    (tmp_path / "data.json").write_text('{"size": 8}')
    with pytest.raises(CheckpointError, match=r"data.json is damaged: .*missing"):
        Preprocess.load(tmp_path)
    with pytest.raises(CheckpointError, match=r"is not a run folder: it has no data.json"):
        Preprocess.load(tmp_path / "none")


def test_schedules() -> None:
    cosine = TrainConfig(epochs=3, warmup_epochs=0.5)
    got = [rate_factor(cosine, 4, step) for step in range(12)]
    assert got[:2] == [1 / 3, 2 / 3]
    np.testing.assert_allclose(got[2:], [0.5 + 0.5 * math.cos(math.pi * t / 10) for t in range(10)], rtol=1e-12)
    assert rate_factor(cosine, 4, 12) == 0.0
    step = TrainConfig(epochs=6, warmup_epochs=0, schedule="step", lr_step=2, lr_gamma=0.5)
    assert [rate_factor(step, 3, 3 * epoch) for epoch in range(6)] == [1, 1, 0.5, 0.5, 0.25, 0.25]
    constant = TrainConfig(epochs=2, warmup_epochs=1, schedule="none")
    assert [rate_factor(constant, 2, s) for s in range(4)] == [1 / 3, 2 / 3, 1, 1]


def test_optimizers() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    sgd = build_optimizer(TrainConfig(lr=0.2, weight_decay=0.01), model)
    assert isinstance(sgd, optim.SGD)
    first, second = sgd.state_dict()["param_groups"]
    assert (first["params"], first["weight_decay"]) == (["0.weight", "3.weight"], 0.01)
    assert (second["params"], second["weight_decay"]) == (["0.bias", "1.weight", "1.bias", "3.bias"], 0.0)
    assert first["nesterov"] and first["momentum"] == 0.9 and first["lr"] == 0.2
    assert not build_optimizer(TrainConfig(momentum=0.0), model).param_groups[0]["nesterov"]
    for name in OPTIMIZERS:
        made = build_optimizer(TrainConfig(optimizer=name, lr=0.3), model)
        assert type(made).__name__.lower() == name
        assert [group["lr"] for group in made.param_groups] == [0.3, 0.3]
    assert isinstance(build_scheduler(TrainConfig(schedule="plateau"), sgd, 5), ReduceLROnPlateau)
    build_scheduler(TrainConfig(lr=0.2, warmup_epochs=1), sgd, 4)
    assert sgd.param_groups[0]["lr"] == pytest.approx(0.2 / 5)
