"""Padding, resampling, folding and shuffling layers beside the table of cases: antialiasing, worked numbers, errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.errors import ArgumentError, NNLabError
from nnlab.nn import functional as F
from nnlab.testing import gradcheck, gradgradcheck
from tests.nn.peer import close, normals


@pytest.mark.torch
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("options", [{"size": (3, 2)}, {"size": (9, 3)}, {"scale_factor": 0.4}, {"scale_factor": 1.5}])
def test_antialiasing_against_torch(mode: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    for corners in (False, True):
        x = normals(2, 3, 7, 8)
        a, b = nnlab.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        kwargs = {**options, "mode": mode, "antialias": True, "align_corners": corners}
        y, z = F.interpolate(a, **kwargs), torch.nn.functional.interpolate(b, **kwargs)
        close(y, z)
        y.backward(nnlab.tensor(normals(*z.shape)))
        z.backward(torch.tensor(normals(*z.shape)))
        close(a.grad, b.grad)


def test_fractional_pooling_draws_its_windows() -> None:
    """From 25 elements to 12, a window of 2 begins 2 or 3 after the one before; drawn anew at each call."""
    layer = nn.FractionalMaxPool2d(2, output_ratio=0.5, return_indices=True)
    x = nnlab.arange(625).reshape(1, 1, 25, 25).float()
    nnlab.manual_seed(4)
    first, second = layer(x)[1].numpy(), layer(x)[1].numpy()
    assert first.shape == (1, 1, 12, 12) and (first != second).any()
    rows = first[0, 0, :, 0] // 25
    assert set(np.diff(rows).tolist()) <= {2, 3} and rows[-1] == 24
    nnlab.manual_seed(4)
    np.testing.assert_array_equal(layer(x)[1].numpy(), first)
    y, places = F.fractional_max_pool2d(nnlab.zeros(1, 1, 3, 3), 2, 2, return_indices=True)
    assert places.tolist() == [[[[0, 1], [3, 4]]]]
    x = nnlab.full((1, 1, 3, 3), float("nan"))
    y, places = F.fractional_max_pool2d(x, 2, 2, return_indices=True)
    assert y.isnan().all().item() and places.tolist() == [[[[4, 5], [7, 8]]]]


def test_gradients_of_antialiasing() -> None:
    def resized(x: nnlab.Tensor) -> nnlab.Tensor:
        return F.interpolate(x, (2, 7), mode="bicubic", antialias=True) ** 2

    x = nnlab.tensor(normals(2, 1, 3, 4), requires_grad=True)
    assert gradcheck(resized, x)
    assert gradgradcheck(resized, x)


def test_fold_and_unfold_are_transposes() -> None:
    """<unfold(x), c> = <x, fold(c)>, as for the matrices of a convolution and of its transpose."""
    x, c = nnlab.tensor(normals(2, 3, 5, 6)), nnlab.tensor(normals(2, 27, 6))
    options = {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 1}
    c = nnlab.tensor(normals(2, 27, 9))
    assert (F.unfold(x, **options) * c).sum().item() == pytest.approx((x * F.fold(c, (5, 6), **options)).sum().item())


def test_convolution_is_a_product_with_columns() -> None:
    x, w = nnlab.tensor(normals(2, 3, 5, 6)), nnlab.tensor(normals(4, 3, 3, 3))
    y = w.reshape(4, 27) @ F.unfold(x, 3, padding=1)
    close(y.reshape(2, 4, 5, 6), F.conv2d(x, w, padding=1))


def tensor(rows: list[Any]) -> nnlab.Tensor:
    return nnlab.tensor(rows, dtype=nnlab.float64)


def test_unpooling_of_the_notes() -> None:
    """2 x 2 to 4 x 4: nearest neighbour, bed of nails, and max unpooling with the positions of max pooling."""
    small = tensor([[[[1, 2], [3, 4]]]])
    assert F.interpolate(small, scale_factor=2)[0, 0].tolist() == [
        [1, 1, 2, 2],
        [1, 1, 2, 2],
        [3, 3, 4, 4],
        [3, 3, 4, 4],
    ]
    nails = [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]
    one = tensor([[[[1, 0], [0, 0]]]])
    assert F.conv_transpose2d(small, one, stride=2)[0, 0].tolist() == nails
    corners = nnlab.tensor([[[[0, 2], [8, 10]]]])
    assert F.max_unpool2d(small, corners, 2)[0, 0].tolist() == nails
    large = tensor([[[[1, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]]]])
    pooled, positions = F.max_pool2d(large, 2, return_indices=True)
    assert pooled[0, 0].tolist() == [[5, 6], [7, 8]]
    stored = [[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]]
    assert F.max_unpool2d(small, positions, 2)[0, 0].tolist() == stored


def test_padding_of_the_notes() -> None:
    """A filter of 5 = 2 p + 1 elements over p = 2 zeros on both sides keeps the size; one of 2 p pads unevenly."""
    f, g = tensor([[[3, 2, 2, -1, -2, -3, -1]]]), tensor([[[-1, 0, 2, 0, -1]]])
    padded = nn.ZeroPad1d(2)(f)
    assert padded[0, 0].tolist() == [0, 0, 3, 2, 2, -1, -2, -3, -1, 0, 0]
    # The notes print 5 and 3 in the third and fourth place, which are -3 + 2 * 2 + 2 and -2 - 2 * 1 + 3.
    assert F.conv1d(padded, g)[0, 0].tolist() == [4, 5, 3, -1, -5, -5, 0]
    even = tensor([[[1, -1]]])
    assert F.conv1d(nn.ZeroPad1d((0, 1))(f), even)[0, 0].tolist() == [1, 0, 3, 1, 1, -2, -1]
    assert F.conv1d(nn.ZeroPad1d((1, 0))(f), even)[0, 0].tolist() == [-3, 1, 0, 3, 1, 1, -2]
    # All positions of f * g, valid ones and those at the boundary: the flipped g over f with 2 zeros on both sides.
    f, g = tensor([[[0, 1, 2, 3, 4]]]), tensor([[[1, -1, 2]]])
    assert F.conv1d(nn.ZeroPad1d(2)(f), g.flip(2))[0, 0].tolist() == [0, 1, 1, 3, 5, 2, 8]


def test_worked_numbers_of_padding() -> None:
    x = tensor([[[1, 2, 3]]])
    assert nn.ReflectionPad1d(2)(x).tolist() == [[[3, 2, 1, 2, 3, 2, 1]]]
    assert nn.ReplicationPad1d((2, 1))(x).tolist() == [[[1, 1, 1, 2, 3, 3]]]
    assert nn.CircularPad1d((1, 2))(x).tolist() == [[[3, 1, 2, 3, 1, 2]]]
    assert nn.CircularPad1d((2, -1))(x).tolist() == [[[1, 2, 1, 2]]]
    assert nn.ReflectionPad1d((2, -1))(x).tolist() == [[[3, 2, 1, 2]]]
    assert nn.ConstantPad1d((-1, 1), 7.0)(x).tolist() == [[[2, 3, 7]]]
    plane = tensor([[[1, 2], [3, 4]]])
    assert nn.ReflectionPad2d((1, 0, 1, 0))(plane).tolist() == [[[4, 3, 4], [2, 1, 2], [4, 3, 4]]]
    assert nn.CircularPad2d((0, 1, 1, 0))(plane).tolist() == [[[3, 4, 3], [1, 2, 1], [3, 4, 3]]]
    assert nn.ReplicationPad2d((0, 1, 0, 1))(plane).tolist() == [[[1, 2, 2], [3, 4, 4], [3, 4, 4]]]


def test_worked_numbers_of_resampling() -> None:
    x = tensor([[[0, 4, 8]]])
    assert F.interpolate(x, 6, mode="linear").tolist() == [[[0, 1, 3, 5, 7, 8]]]
    assert F.interpolate(x, 5, mode="linear", align_corners=True).tolist() == [[[0, 2, 4, 6, 8]]]
    assert F.interpolate(x, 2, mode="nearest").tolist() == [[[0, 4]]]
    assert F.interpolate(x, 2, mode="nearest-exact").tolist() == [[[0, 8]]]
    assert F.interpolate(x, 2, mode="area").tolist() == [[[2, 6]]]
    plane = tensor([[[[0, 4], [8, 12]]]])
    assert F.interpolate(plane, 3, mode="bilinear", align_corners=True)[0, 0].tolist() == [
        [0, 2, 4],
        [4, 6, 8],
        [8, 10, 12],
    ]
    # Keys' kernel with a = -0.75 at half a pixel: -3/32, 19/32, 19/32, -3/32; at the edge the outer taps are clamped.
    row = tensor([[[[0, 0, 32, 0, 0]]]])
    halves = F.interpolate(row, (1, 9), mode="bicubic", align_corners=True)[0, 0, 0].tolist()
    assert halves == [0, -3, 0, 19, 32, 19, 0, -3, 0]
    step = tensor([[[[4, 0, 0, 0]]]])
    assert F.interpolate(step, (1, 2), mode="bilinear", antialias=True)[0, 0, 0].tolist() == [pytest.approx(12 / 7), 0]


def test_worked_numbers_of_rearrangements() -> None:
    x = nnlab.arange(9).reshape(1, 1, 3, 3).double()
    columns = [[0, 1, 3, 4], [1, 2, 4, 5], [3, 4, 6, 7], [4, 5, 7, 8]]
    assert F.unfold(x, 2)[0].tolist() == columns
    assert F.fold(F.unfold(x, 2), 3, 2)[0, 0].tolist() == [[0, 2, 2], [6, 16, 10], [6, 14, 8]]
    x = nnlab.arange(8).reshape(1, 4, 1, 2).double()
    assert F.pixel_shuffle(x, 2)[0, 0].tolist() == [[0, 2, 1, 3], [4, 6, 5, 7]]
    assert F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2).tolist() == x.tolist()
    assert F.channel_shuffle(x, 2)[0, :, 0, 0].tolist() == [0, 4, 2, 6]
    assert F.lp_pool1d(tensor([[3, 4, 5, 12]]), 2, 2).tolist() == [[5, 13]]
    assert F.lp_pool1d(tensor([[3, 4, 5]]), 1, 2, ceil_mode=True).tolist() == [[7, 10]]


def test_shuffling_without_images() -> None:
    """PyTorch's own gradients have a wrong shape here."""
    for layer, shape, out in (
        (nn.PixelShuffle(2), (0, 4, 3, 1), (0, 1, 6, 2)),
        (nn.PixelUnshuffle(2), (0, 1, 6, 2), (0, 4, 3, 1)),
        (nn.ChannelShuffle(2), (0, 4, 3, 1), (0, 4, 3, 1)),
    ):
        x = nnlab.zeros(*shape, requires_grad=True)
        y = layer(x)
        assert y.shape == out
        y.sum().backward()
        assert x.grad.shape == shape


def test_the_gradient_of_an_empty_window_is_zero() -> None:
    x = nnlab.tensor([[0.0, 0.0, 3.0, 4.0]], requires_grad=True)
    for p in (1, 2, 4):
        x.grad = None
        F.lp_pool1d(x, p, 2).sum().backward()
        assert x.grad[0, :2].tolist() == [0, 0] and (x.grad[0, 2:] > 0).all().item()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda x: nn.ReflectionPad2d((1, 2, 3)),
            "[ReflectionPad2d] 'padding' must be an int or 4 ints, got (1, 2, 3)",
        ),
        (
            lambda x: nn.ReflectionPad1d(5)(x),
            "[ReflectionPad1d] pad: 'pad' must be at most 4 for reflect on a size of 5",
        ),
        (lambda x: nn.CircularPad1d(6)(x), "[CircularPad1d] pad: 'pad' must be at most 5 for circular on a size of 5"),
        (
            lambda x: nn.ReplicationPad1d(1)(x[..., :0]),
            "[ReplicationPad1d] pad: 'pad' must be 0 for replicate on a size",
        ),
        (
            lambda x: nn.ReplicationPad2d(1)(x[0]),
            "[ReplicationPad2d] 'input' must have shape (N, C, H, W) or (C, H, W)",
        ),
        (lambda x: nn.ZeroPad1d(-3)(x), "[ZeroPad1d] pad: 'pad' must leave a size of at least 0 in shape (2, 4, 5)"),
        (lambda x: F.pad(x, (1, 1), "mirror"), "[pad] 'mode' must be one of"),
        (lambda x: F.pad(x, (1, 1), "reflect", 2.0), "[pad] 'value' must be left out with mode 'reflect', got 2.0"),
        (lambda x: F.pad(x, (1,)), "[pad] 'pad' must have an even length of at most 6, got (1,)"),
        (lambda x: F.interpolate(x), "[interpolate] 'size' must be given, or 'scale_factor', and not both, got None"),
        (lambda x: F.interpolate(x, 3, 2.0), "[interpolate] 'size' must be given, or 'scale_factor', and not both"),
        (lambda x: F.interpolate(x, (3, 3)), "[interpolate] 'size' must be an int or 1 ints, got (3, 3)"),
        (lambda x: F.interpolate(x, 0), "[interpolate] 'size' must be positive, got 0"),
        (lambda x: F.interpolate(x, scale_factor=-1), "[interpolate] 'scale_factor' must be a positive number or 1 of"),
        (lambda x: F.interpolate(x, scale_factor=0.1), "[interpolate] 'scale_factor' must leave a size of at least 1"),
        (lambda x: F.interpolate(x, 3, mode="cubic"), "[interpolate] 'mode' must be one of"),
        (
            lambda x: F.interpolate(x, 3, mode="bilinear"),
            "[interpolate] 'input' must have 2 spatial sizes of at least 1",
        ),
        (lambda x: F.interpolate(x[..., :0], 3), "[interpolate] 'input' must have 1 to 3 spatial sizes of at least 1"),
        (
            lambda x: F.interpolate(x, 3, align_corners=False),
            "[interpolate] 'align_corners' must be left out with mode",
        ),
        (lambda x: F.interpolate(x, 3, recompute_scale_factor=True), "[interpolate] 'recompute_scale_factor' must be"),
        (lambda x: F.interpolate(x, 3, mode="linear", antialias=True), "[interpolate] 'antialias' must be False with"),
        (lambda x: nn.Upsample(3)(x.long()), "[Upsample] interpolate: 'input' must be floating point, got 'int64'"),
        (lambda x: F.unfold(x[0], 2), "[unfold] 'input' must have shape (N, C, H, W) or (C, H, W), got (4, 5)"),
        (lambda x: nn.Unfold(6)(x), "[Unfold] 'input' must be at least as large as the kernel's extent (6, 6)"),
        (lambda x: F.fold(x[0, 0], 2, 2), "[fold] 'input' must have shape (N, C * kernel elements, L) or"),
        (lambda x: F.fold(x, 3, 3), "[fold] 'input' must have a number of rows divisible by the kernel's 9 elements"),
        (lambda x: nn.Fold(3, 2)(x), "[Fold] 'input' must have 4 columns, one for each window (2, 2), got (2, 4, 5)"),
        (lambda x: nn.PixelShuffle(0), "[PixelShuffle] 'upscale_factor' must be a positive int, got 0"),
        (lambda x: nn.PixelShuffle(2)(x), "[PixelShuffle] 'input' must have a number of channels divisible by upscale"),
        (lambda x: F.pixel_shuffle(x[0], 2), "[pixel_shuffle] 'input' must have shape (..., C, H, W), got (4, 5)"),
        (lambda x: nn.PixelUnshuffle(2)(x), "[PixelUnshuffle] 'input' must have a height and a width divisible by"),
        (lambda x: nn.ChannelShuffle(3)(x), "[ChannelShuffle] 'input' must have shape (N, C, L, ...) with C divisible"),
        (lambda x: nn.LPPool1d(0, 2)(x), "[LPPool1d] 'norm_type' must be a positive finite number, got 0"),
        (lambda x: nn.LPPool1d(float("inf"), 2)(x), "[LPPool1d] 'norm_type' must be a positive finite number, got inf"),
        (lambda x: nn.FractionalMaxPool2d(2), "[FractionalMaxPool2d] 'output_size' must be given, or 'output_ratio'"),
        (
            lambda x: nn.FractionalMaxPool2d(2, output_ratio=1.5),
            "[FractionalMaxPool2d] 'output_ratio' must be a number",
        ),
        (lambda x: nn.FractionalMaxPool2d(2, 5)(x), "[FractionalMaxPool2d] 'input' must have room for (5, 5) windows"),
        (
            lambda x: F.fractional_max_pool2d(x, 2, 2, _random_samples=nnlab.zeros(1, 2, 1)),
            "[fractional_max_pool2d] '_random_samples' must have shape (1, 2, 2), got (1, 2, 1)",
        ),
    ],
)
def test_errors(make: Callable[[nnlab.Tensor], Any], message: str) -> None:
    with pytest.raises(NNLabError, match="^" + re.escape(message)):
        make(nnlab.zeros(2, 4, 5))


def test_layers_of_float32_keep_their_dtype() -> None:
    x = nnlab.randn(1, 4, 4, 4)
    for layer in (nn.ReflectionPad2d(1), nn.Upsample(scale_factor=2, mode="bicubic"), nn.Unfold(2), nn.LPPool2d(3, 2)):
        assert layer(x.abs()).dtype == nnlab.float32
        assert layer(x.abs().half()).dtype == nnlab.float16
    with pytest.raises(ArgumentError):
        F.interpolate(x, 3, mode="bilinear", align_corners=True, recompute_scale_factor=True)
