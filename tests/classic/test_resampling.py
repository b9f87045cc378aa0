"""Gaussian pooling, bed of nails, transposed convolution: loops, the numbers of the notes, counted copies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab.classic import resampling
from nnlab.errors import ArgumentError, ShapeError
from nnlab.nn import functional as F
from nnlab.testing import gradcheck, gradgradcheck
from tests import emulator


@pytest.mark.parametrize(("size", "stride", "padding", "sigma"), [(3, 2, 1, 0.8), (4, None, 0, None), (4, 3, 0, 2.0)])
def test_gaussian_pooling_against_a_loop(size: int, stride: int | None, padding: int, sigma: float | None) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 9, 10))
    y = resampling.gaussian_pool2d(nnlab.tensor(x), size, stride, padding, sigma).numpy()
    step, deviation = stride or size, sigma or size / 4
    near = np.exp(-((np.arange(size) - (size - 1) / 2) ** 2) / (2 * deviation**2))
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    assert y.shape == (2, 3, (9 + 2 * padding - size) // step + 1, (10 + 2 * padding - size) // step + 1)
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            window = padded[:, :, i * step : i * step + size, j * step : j * step + size]
            mean = (window * near * near[:, None]).sum((2, 3)) / near.sum() ** 2
            np.testing.assert_allclose(y[:, :, i, j], mean, atol=1e-13)


def test_gaussian_pooling_of_wide_deviation_is_average_pooling() -> None:
    x = nnlab.randn(1, 2, 6, 6, dtype=nnlab.float64)
    wide = resampling.gaussian_pool2d(x, 3, sigma=1e5)
    np.testing.assert_allclose(wide.numpy(), F.avg_pool2d(x, 3).numpy(), atol=1e-9)


def test_gradients() -> None:
    x = nnlab.randn(1, 2, 5, 5, dtype=nnlab.float64).requires_grad_()
    for call in (lambda x: resampling.gaussian_pool2d(x, 3, 2), lambda x: resampling.bed_of_nails2d(x, 2)):
        assert gradcheck(call, x)
        assert gradgradcheck(lambda x, call=call: call(x * x), x)


def test_bed_of_nails() -> None:
    x = nnlab.arange(1, 13).double().reshape(1, 3, 2, 2)
    for stride in (1, 2, 3):
        y = resampling.bed_of_nails2d(x, stride).numpy()
        wanted = np.zeros((1, 3, 2 * stride, 2 * stride))
        wanted[:, :, ::stride, ::stride] = x.numpy()
        np.testing.assert_array_equal(y, wanted)


def test_transposed_convolution_of_the_notes() -> None:
    """A 3 x 3 kernel of ones at stride 2: copies are weighted by the pixels, and added up where they overlap."""
    image = nnlab.tensor([[1.0, 2, 5, 5], [3, 4, 5, 5], [5, 5, 5, 5], [5, 5, 5, 5]]).reshape(1, 1, 4, 4)
    y = F.conv_transpose2d(image, nnlab.ones(1, 1, 3, 3), stride=2)[0, 0]
    assert y.shape == (9, 9)
    assert y[:5, :5].tolist() == [
        [1, 1, 3, 2, 7],
        [1, 1, 3, 2, 7],
        [4, 4, 10, 6, 16],
        [3, 3, 7, 4, 9],
        [8, 8, 17, 9, 19],
    ]
    # The first four copies alone, as the notes draw them.
    four = F.conv_transpose2d(image[:, :, :2, :2], nnlab.ones(1, 1, 3, 3), stride=2)[0, 0]
    assert four.tolist() == [
        [1, 1, 3, 2, 2],
        [1, 1, 3, 2, 2],
        [4, 4, 10, 6, 6],
        [3, 3, 7, 4, 4],
        [3, 3, 7, 4, 4],
    ]


def test_transposed_convolution_in_one_dimension() -> None:
    """Inputs a = 2, b = 3 and the filter (x, y, z) = (1, 10, 100) at stride 2: ax, ay, az + bx, by, bz."""
    y = F.conv_transpose1d(nnlab.tensor([[[2.0, 3.0]]]), nnlab.tensor([[[1.0, 10.0, 100.0]]]), stride=2)
    assert y.tolist() == [[[2, 20, 203, 30, 300]]]
    cropped = F.conv_transpose1d(
        nnlab.tensor([[[2.0, 3.0]]]), nnlab.tensor([[[1.0, 10.0, 100.0]]]), None, 2, padding=1, output_padding=1
    )
    assert cropped.tolist() == [[[20, 203, 30, 300]]]  # twice the input's size


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize(
    ("size", "kernel", "stride"), [(5, 3, 2), (5, 4, 2), (4, 5, 3), (6, 2, 2), (3, 2, 4), (1, 7, 1)]
)
def test_overlaps_are_counted(size: int, kernel: int, stride: int, padding: int) -> None:
    if kernel <= 2 * padding:
        return
    counts = np.zeros((size - 1) * stride + kernel, int)
    for i in range(size):
        counts[i * stride : i * stride + kernel] += 1
    np.testing.assert_array_equal(
        resampling.overlaps(size, kernel, stride, padding), counts[padding : len(counts) - padding]
    )
    inside = counts[kernel - 1 : len(counts) - kernel + 1]
    if len(inside) and kernel % stride == 0:
        assert set(inside) == {kernel // stride}


def test_on_another_device() -> None:
    emulator.backend()
    x = nnlab.randn(2, 3, 6, 6)
    for call in (lambda x: resampling.gaussian_pool2d(x, 2), resampling.bed_of_nails2d):
        y = call(x.to("emulated"))
        assert str(y.device) == "emulated"
        np.testing.assert_allclose(y.cpu().numpy(), call(x).numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: resampling.bed_of_nails2d(x, 0), ArgumentError, r"\[bed_of_nails2d\] 'stride' must be positive"),
        (lambda x: resampling.bed_of_nails2d(x[0]), ShapeError, r"'input' must have shape \(N, C, H, W\), got \(2, 4,"),
        (lambda x: resampling.gaussian_pool2d(x[0], 2), ShapeError, r"\[gaussian_pool2d\] 'input' must have shape"),
        (lambda x: resampling.gaussian_pool2d(x, 2, sigma=-1.0), ArgumentError, r"\[gaussian\] 'sigma' must be posit"),
    ],
)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(nnlab.zeros(1, 2, 4, 4))
