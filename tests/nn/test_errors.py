"""Bad arguments and inputs: one clear error that names the layer and the values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

import nnlab
from nnlab import nn
from nnlab.errors import ArgumentError, DtypeError, NNLabError, OutOfMemoryError, ShapeError
from nnlab.nn import functional as F


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Conv2d(3, 4, 3, stride=(0, 1)), "[Conv2d] 'stride' must be positive, got (0, 1)"),
        (lambda: nn.Conv2d(3, 4, 0), "[Conv2d] 'kernel_size' must be positive, got 0"),
        (lambda: nn.Conv2d(3, 4, (3, 3, 3)), "[Conv2d] 'kernel_size' must be an int or 2 ints, got (3, 3, 3)"),
        (lambda: nn.Conv1d(3, 4, 3, padding=-1), "[Conv1d] 'padding' must not be negative, got -1"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "[Conv2d] 'in_channels' must be divisible by groups=2, got 3"),
        (lambda: nn.Conv2d(4, 3, 3, groups=2), "[Conv2d] 'out_channels' must be divisible by groups=2, got 3"),
        (lambda: nn.Conv3d(0, 4, 3), "[Conv3d] 'in_channels' must be a positive int, got 0"),
        (lambda: nn.Conv2d(3, 4, 3, padding="full"), "[Conv2d] 'padding' must be an int, a tuple, 'same' or 'valid'"),
        (lambda: nn.Conv2d(3, 4, 3, 2, "same"), "[Conv2d] 'stride' must be 1 with padding='same', got 2"),
        (lambda: nn.Conv2d(3, 4, 3, padding_mode="mirror"), "[Conv2d] 'padding_mode' must be one of"),
        (
            lambda: nn.ConvTranspose2d(3, 4, 3, padding_mode="reflect"),
            "[ConvTranspose2d] 'padding_mode' must be 'zeros', got 'reflect'",
        ),
        (lambda: nn.Linear(0, 3), "[Linear] 'in_features' must be a positive int, got 0"),
        (lambda: nn.Linear(3, 2.5), "[Linear] 'out_features' must be a positive int, got 2.5"),
        (lambda: nn.Dropout(1.5), "[Dropout] 'p' must be a probability between 0 and 1, got 1.5"),
        (lambda: nn.BatchNorm2d(0), "[BatchNorm2d] 'num_features' must be a positive int, got 0"),
        (lambda: nn.BatchNorm2d(3, momentum=2), "[BatchNorm2d] 'momentum' must be between 0 and 1, or None, got 2"),
        (lambda: nn.BatchNorm2d(3, eps=-1), "[BatchNorm2d] 'eps' must not be negative, got -1"),
        (lambda: nn.LocalResponseNorm(0), "[LocalResponseNorm] 'size' must be a positive int, got 0"),
        (
            lambda: nn.MSELoss(reduction="avg"),
            "[MSELoss] 'reduction' must be one of ('mean', 'sum', 'none'), got 'avg'",
        ),
        (
            lambda: nn.CrossEntropyLoss(label_smoothing=2),
            "[CrossEntropyLoss] 'label_smoothing' must be between 0 and 1, got 2",
        ),
    ],
)
def test_constructors(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(message)):
        make()


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (
            nn.Conv2d(4, 2, 3),
            (2, 3, 5, 5),
            r"\[Conv2d\] 'input' must have 4 channels .*, got 3 in shape \(2, 3, 5, 5\)",
        ),
        (nn.Conv2d(4, 2, 3), (5, 3), r"\[Conv2d\] 'input' must have shape \(N, C, H, W\) or \(C, H, W\), got \(5, 3\)"),
        (nn.Conv1d(4, 2, 3), (2, 4, 5, 5), r"\[Conv1d\] 'input' must have shape \(N, C, L\) or \(C, L\), got"),
        (nn.Conv2d(4, 2, 7), (2, 4, 5, 5), r"\[Conv2d\] 'input' must be at least as large as the kernel"),
        (nn.ConvTranspose2d(4, 2, 3), (2, 3, 5, 5), r"\[ConvTranspose2d\] 'input' must have 4 channels"),
        (nn.MaxPool2d(7), (2, 4, 5, 5), r"\[MaxPool2d\] 'input' must be at least as large as the kernel"),
        (nn.MaxPool2d(2, padding=3), (2, 4, 5, 5), r"\[MaxPool2d\] 'padding' must be at most half"),
        (nn.AvgPool1d(2), (5,), r"\[AvgPool1d\] 'input' must have shape \(N, C, L\) or \(C, L\), got \(5,\)"),
        (nn.AdaptiveAvgPool2d(2), (5, 2), r"\[AdaptiveAvgPool2d\] 'input' must have shape"),
        (nn.Linear(4, 2), (2, 3), r"\[Linear\] .*\(2, 3\)"),
        (nn.BatchNorm2d(3), (2, 3, 4), r"\[BatchNorm2d\] 'input' must have shape \(N, C, H, W\), got \(2, 3, 4\)"),
        (nn.BatchNorm2d(3), (2, 4, 4, 4), r"\[BatchNorm2d\] input has 4 channels but the layer has 3"),
        (nn.BatchNorm1d(3), (1, 3), r"\[BatchNorm1d\] 'input' must have more than one value per channel in training"),
        (
            nn.LocalResponseNorm(3),
            (2, 3),
            r"\[LocalResponseNorm\] 'input' must have shape \(N, C, L, ...\), got \(2, 3\)",
        ),
        (nn.Softmax(), (2, 3), r"\[Softmax\] 'dim' must be given"),
        (nn.Flatten(3), (2, 3), r"\[Flatten\]"),
        (nn.Unflatten(5, (2, 1)), (2, 3), r"\[Unflatten\]"),
    ],
)
def test_shapes(layer: nn.Module, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(NNLabError, match=f"^{message}"):
        layer(nnlab.zeros(*shape))


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(1, 1, 1), nn.Linear(2, 2), nn.BatchNorm2d(1), nn.MaxPool2d(1), nn.LocalResponseNorm(1), nn.Softmax(1)],
)
def test_images_that_were_not_made_floating(layer: nn.Module) -> None:
    x = nnlab.zeros(2, 1, 2, 2, dtype=nnlab.uint8)
    name = type(layer).__name__
    with pytest.raises(DtypeError, match=rf"^\[{name}\] 'input' must be floating point, got 'uint8'"):
        layer(x)
    with pytest.raises(DtypeError, match=rf"^\[{name}\] 'input' must be a Tensor, got 'ndarray'"):
        layer(x.numpy())


@pytest.mark.parametrize("layer", [nn.Conv2d(1, 1, 1), nn.Linear(2, 2), nn.BatchNorm2d(1), nn.ConvTranspose2d(1, 1, 1)])
def test_mixed_dtypes(layer: nn.Module) -> None:
    with pytest.raises(DtypeError, match=rf"^\[{type(layer).__name__}\] 'input' is float64 but 'weight' is float32"):
        layer(nnlab.zeros(2, 1, 2, 2, dtype=nnlab.float64))


def test_the_path_of_the_layer() -> None:
    net = nn.Sequential(nn.Sequential(nn.Identity(), nn.Conv2d(3, 4, 3)), nn.ReLU())
    with pytest.raises(ShapeError, match=r"^\[Conv2d\] .* \(layer 0\.1\)$"):
        net(nnlab.zeros(1, 2, 5, 5))


def test_own_modules_keep_the_name_of_the_operation() -> None:
    class Mine(nn.Module):
        def forward(self, x: nnlab.Tensor) -> nnlab.Tensor:
            return x @ x

    with pytest.raises(ShapeError, match=r"^\[Mine\] matmul: .* \(layer inner\)$"):
        nn.Sequential({"inner": Mine()})(nnlab.zeros(2, 3))


def test_out_of_memory_names_the_layer() -> None:
    class Greedy(nn.Module):
        def forward(self, x: nnlab.Tensor) -> nnlab.Tensor:
            raise MemoryError("could not allocate 7 bytes")

    with pytest.raises(OutOfMemoryError, match=r"^\[Greedy\] out of memory: could not allocate 7 bytes \(layer 0\)$"):
        nn.Sequential(Greedy())(nnlab.zeros(1))


def test_functions_say_their_own_name() -> None:
    x, w = nnlab.zeros(1, 3, 5, 5), nnlab.zeros(2, 4, 3, 3)
    with pytest.raises(ShapeError, match=r"^\[conv2d\] 'input' must have 4 channels"):
        F.conv2d(x, w)
    with pytest.raises(ShapeError, match=r"^\[conv2d\] 'bias' must have shape \(2,\), got \(3,\)"):
        F.conv2d(x, nnlab.zeros(2, 3, 3, 3), nnlab.zeros(3))
    with pytest.raises(ShapeError, match=r"^\[conv2d\] 'weight' must have 4 dimensions, got \(2, 3, 3\)"):
        F.conv2d(x, nnlab.zeros(2, 3, 3))
    with pytest.raises(ShapeError, match=r"^\[conv_transpose2d\] 'bias' must have shape \(2,\), got \(3,\)"):
        F.conv_transpose2d(x, nnlab.zeros(3, 2, 3, 3), nnlab.zeros(3))
    with pytest.raises(ShapeError, match=r"^\[batch_norm\] input has 3 channels but weight has shape \(2,\)"):
        F.batch_norm(x, None, None, nnlab.ones(2), training=True)
    with pytest.raises(ArgumentError, match=r"^\[batch_norm\] 'running_mean' must be given outside training"):
        F.batch_norm(x, None, None)
    with pytest.raises(ShapeError, match=r"^\[batch_norm\] 'input' must have shape \(N, C, ...\)"):
        F.batch_norm(nnlab.zeros(3), None, None, training=True)
    with pytest.raises(DtypeError, match=r"^\[max_unpool2d\] 'indices' must be integers, got float32"):
        F.max_unpool2d(x, x, 2)
    with pytest.raises(ShapeError, match=r"^\[max_unpool2d\] 'indices' must have the input's shape"):
        F.max_unpool2d(x, nnlab.zeros(1, 3, 5, 4, dtype=nnlab.int64), 2)
    with pytest.raises(
        ShapeError, match=r"^\[binary_cross_entropy\] 'target' must have the input's shape \(2,\), got \(3,\)"
    ):
        F.binary_cross_entropy(nnlab.zeros(2), nnlab.zeros(3))
