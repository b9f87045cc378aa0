"""Errors of the window arithmetic; its numbers are tested with the operations that use it."""

from __future__ import annotations

import numpy as np
import pytest

from nnlab.errors import ArgumentError, ShapeError
from nnlab.geometry import (
    adaptive_size,
    conv_geometry,
    conv_transpose_geometry,
    max_unpool_size,
    pool_geometry,
    space_to_depth,
)
from tests.ops.common import rng
from tests.oracles import conv as oracle
from tests.oracles import conv_fold

X, W = (2, 4, 9, 8), (6, 4, 3, 3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"stride": (0, 1)}, ArgumentError, r"\[Conv2d\] 'stride' must be positive, got \(0, 1\)"),
        ({"stride": (1, 1, 1)}, ArgumentError, r"\[Conv2d\] 'stride' must be an int or 2 ints, got \(1, 1, 1\)"),
        ({"stride": 1.5}, ArgumentError, r"\[Conv2d\] 'stride' must be an int or 2 ints, got 1.5"),
        ({"stride": True}, ArgumentError, r"'stride' must be an int or 2 ints, got True"),
        ({"dilation": 0}, ArgumentError, r"\[Conv2d\] 'dilation' must be positive, got 0"),
        ({"padding": -1}, ArgumentError, r"\[Conv2d\] 'padding' must not be negative, got -1"),
        ({"padding": "full"}, ArgumentError, r"\[Conv2d\] 'padding' must be ints, 'same' or 'valid', got 'full'"),
        ({"padding": "same", "stride": 2}, ArgumentError, r"'stride' must be 1 with padding 'same', got \(2, 2\)"),
        ({"groups": 0}, ArgumentError, r"\[Conv2d\] 'groups' must be a positive int, got 0"),
        ({"groups": 2}, ShapeError, r"\[Conv2d\] 'input' must have 8 channels .* got 4 in shape \(2, 4, 9, 8\)"),
        ({"groups": 4}, ShapeError, r"\[Conv2d\] 'weight' must have output channels divisible by groups=4"),
        ({"dilation": 4}, ShapeError, r"kernel's extent \(9, 9\) after padding, got \(9, 8\)"),
    ],
)
def test_bad_convolution(options, error, message):
    with pytest.raises(error, match=message):
        conv_geometry(X, W, layer="Conv2d", **options)


def test_bad_shapes():
    with pytest.raises(ShapeError, match=r"\[Conv1d\] 'input' must have shape \(N, C, \*spatial\).*got \(2, 4\)"):
        conv_geometry((2, 4), (6, 4, 3), layer="Conv1d")
    with pytest.raises(ShapeError, match=r"\[Conv2d\] 'weight' must have 4 positive sizes .* got \(6, 4, 3\)"):
        conv_geometry(X, (6, 4, 3), layer="Conv2d")
    with pytest.raises(ShapeError, match=r"\[Up\] 'input' must have 6 channels"):
        conv_transpose_geometry(X, W, layer="Up")
    with pytest.raises(ShapeError, match=r"\[Up\] 'weight' must have input channels divisible by groups=3"):
        conv_transpose_geometry(X, (4, 2, 3, 3), groups=3, layer="Up")
    with pytest.raises(ShapeError, match=r"\[Up\] output would be empty: size \(-1, 0\)"):
        conv_transpose_geometry((1, 4, 1, 2), (4, 2, 1, 1), padding=1, layer="Up")


@pytest.mark.parametrize(("stride", "dilation", "extra", "fits"), [(1, 1, 1, False), (2, 1, 1, True), (1, 3, 2, True)])
def test_output_padding_below_stride_or_dilation(stride, dilation, extra, fits):
    arguments = ((1, 4, 5), (4, 2, 3), stride, 0, extra, 1, dilation)
    if fits:
        assert conv_transpose_geometry(*arguments).x_shape[2] == 4 * stride + dilation * 2 + 1 + extra
        return
    with pytest.raises(ArgumentError, match=r"'output_padding' must be smaller than stride \(1,\) or dilation \(1,\)"):
        conv_transpose_geometry(*arguments)


def test_same_padding_puts_the_odd_element_at_the_end():
    geometry = conv_geometry((1, 1, 7), (1, 1, 4), padding="same", dilation=1)
    assert (geometry.pad_low, geometry.out_size) == ((1,), (7,))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0,), ArgumentError, r"\[MaxPool2d\] 'kernel_size' must be positive, got 0"),
        ((2, 0), ArgumentError, r"'stride' must be positive, got 0"),
        ((2, 2, 2), ArgumentError, r"'padding' must be at most half of the kernel's extent \(2, 2\), got \(2, 2\)"),
        ((10,), ShapeError, r"kernel's extent \(10, 10\) after padding \(0, 0\), got shape \(2, 4, 9, 8\)"),
    ],
)
def test_bad_pooling(arguments, error, message):
    with pytest.raises(error, match=message):
        pool_geometry(X, *arguments, layer="MaxPool2d")


def test_windows_of_padding_only_are_refused():
    with pytest.raises(ShapeError, match=r"each window must hold an input element"):
        pool_geometry((1, 1, 2), 2, 1, 1, 3)


def test_ceil_mode_never_starts_a_window_in_the_far_padding():
    assert pool_geometry((1, 1, 5), 2, 2, 1, ceil_mode=True).out_size == (3,)
    assert pool_geometry((1, 1, 5), 3, 2, 1, ceil_mode=True).out_size == (3,)
    assert pool_geometry((1, 1, 6), 3, 2, 1, ceil_mode=True).out_size == (4,)
    assert pool_geometry((1, 1, 6), 3, 2, 1).out_size == (3,)


def test_adaptive_and_unpool_sizes():
    assert adaptive_size(X, None) == (9, 8)
    assert adaptive_size(X, 3) == (3, 3)
    assert adaptive_size(X, (None, 2)) == (9, 2)
    with pytest.raises(ArgumentError, match=r"\[Pool\] 'output_size' must be an int or 2 entries, got \(1, 2, 3\)"):
        adaptive_size(X, (1, 2, 3), layer="Pool")
    assert max_unpool_size((1, 1, 4), 2) == (8,)
    assert max_unpool_size((1, 1, 4), 2, output_size=(1, 1, 9)) == (9,)
    with pytest.raises(ArgumentError, match=r"'output_size' must be less than one stride \(2,\) away from \(8,\)"):
        max_unpool_size((1, 1, 4), 2, output_size=(10,), layer="U")


@pytest.mark.parametrize("together", [1, 2, 3])
@pytest.mark.parametrize(
    ("x_shape", "w_shape", "stride", "padding"),
    [
        ((2, 3, 13, 12), (2, 3, 5, 7), (4, 2), (2, 3)),
        ((1, 2, 4, 6), (3, 2, 3, 3), 1, 1),
        ((1, 2, 18), (2, 2, 2), 3, 0),
        ((1, 1, 3, 4, 6), (2, 1, 2, 3, 3), (1, 2, 1), 1),
    ],
)
def test_space_to_depth_computes_the_same(x_shape, w_shape, stride, padding, together):
    """The convolution of the sorted input and kernel, both sorted by loops, is the convolution itself."""
    g = conv_geometry(x_shape, w_shape, stride, padding)
    assert g.out_size[-1] % together == 0
    inner = space_to_depth(g, together)
    x, w = rng(150).standard_normal(x_shape), rng(151).standard_normal(w_shape)
    steps = (*g.stride[:-1], g.stride[-1] * together)
    channels = inner.w_shape[1]
    sorted_x = np.moveaxis(conv_fold.input(x, inner.in_size, steps, g.pad_low, channels), -1, 1)
    sorted_w = np.moveaxis(conv_fold.kernel(w, inner.kernel, g.stride, steps, together, channels), -1, 1)
    none, ones = (0,) * len(g.kernel), (1,) * len(g.kernel)
    assert sorted_x.shape == inner.x_shape and sorted_w.shape == inner.w_shape
    y = oracle.forward(sorted_x, sorted_w, None, ones, none, none, ones, 1)
    assert y.shape == inner.y_shape
    apart = np.moveaxis(y.reshape(len(x), together, len(w), *inner.out_size), 1, -1).reshape(g.y_shape)
    wanted = oracle.forward(x, w, None, g.stride, g.pad_low, g.pad_low, ones, 1)
    np.testing.assert_allclose(apart, wanted, rtol=1e-12, atol=1e-12)
