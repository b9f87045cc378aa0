"""Convolution, its gradients, and the transposed convolution's bias."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest

from nnlab.geometry import ConvGeometry, conv_geometry, conv_transpose_geometry
from nnlab.ops._cuda import conv as kernels
from tests.cuda import drawn
from tests.cuda.case import Case
from tests.cuda.far import BLOCK, FAR, FarCase, end
from tests.oracles import conv as oracle
from tests.oracles import conv_transpose as transposed


def _all_passes(case: Case, g: ConvGeometry, last: bool) -> None:
    order: Any = drawn.channels_last if last else np.asarray
    x, w, b = order(case.normal(*g.x_shape)), case.normal(*g.w_shape), case.normal(g.w_shape[0])
    dy = order(case.normal(*g.y_shape))
    there, weights, gradient = case.put(x), case.put(w), case.put(dy)
    window, positions = (g.stride, g.pad_low), g.y_shape[0] * prod(g.out_size)
    y = kernels.forward(case.be, x=there, w=weights, b=case.put(b), geometry=g)
    case.compare(y, prod(g.w_shape[1:]) + 1, oracle.forward, x, w, b, *window, g.pad_low, g.dilation, g.groups)
    dx = kernels.input_grad(case.be, dy=gradient, w=weights, geometry=g)
    terms = g.w_shape[0] // g.groups * prod(g.kernel)
    case.compare(dx, terms, _gradient, 0, x, w, dy, *window, g.dilation, g.groups)
    dw = kernels.weight_grad(case.be, x=there, dy=gradient, geometry=g)
    case.compare(dw, positions, _gradient, 1, x, w, dy, *window, g.dilation, g.groups)
    db = kernels.bias_grad(case.be, dy=gradient)
    case.compare(db, positions, _gradient, 2, x, w, dy, *window, g.dilation, g.groups)


def _gradient(which: int, *problem: Any) -> np.ndarray:
    return oracle.gradients(*problem)[which]


def drawn_convolutions(case: Case) -> None:
    for number in range(12):
        _all_passes(case, drawn.convolution(case.random, 1 + number % 3), number % 4 == 3)


def several_tiles_and_parts(case: Case) -> None:
    """More rows, columns and steps than a tile, a slice and a table hold, and more terms than a part adds up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "LEAST_SHARE", 100)
        patch.setattr(kernels, "LEAST_SUM_SHARE", 50)
        patch.setattr(kernels, "LEAST_BIAS_SHARE", 50)
        for last in (False, True):
            _all_passes(case, conv_geometry((2, 17, 9, 8), (70, 17, 3, 3), 1, 1), last)
            for channels in (32, 40):
                _all_passes(
                    case, conv_geometry((2, channels, 9, 8), (channels, 1, 3, 2), (1, 2), 1, groups=channels), last
                )


def channels_last_of_nearly_a_warp(case: Case) -> None:
    """31 channels, of which a warp takes all, and 33, of which it does not."""
    for channels in (31, 33):
        _all_passes(case, conv_geometry((1, channels, 4, 3), (channels, 1, 3, 2), 1, 1, groups=channels), True)


def channels_last_of_one_array(case: Case) -> None:
    """The gradient of the weights where x has channels last and dy not, and the other way round."""
    for g in (
        conv_geometry((2, 5, 4, 3), (6, 5, 3, 2), 1, 1),
        conv_geometry((2, 4, 4, 3), (4, 1, 3, 2), 1, 1, groups=4),
    ):
        x, dy = case.normal(*g.x_shape), case.normal(*g.y_shape)
        for pair in ((drawn.channels_last(x), dy), (x, drawn.channels_last(dy))):
            dw = kernels.weight_grad(case.be, x=case.put(pair[0]), dy=case.put(pair[1]), geometry=g)
            terms, window = g.y_shape[0] * prod(g.out_size), (g.stride, g.pad_low, g.dilation, g.groups)
            case.compare(dw, terms, _gradient, 1, x, np.zeros(g.w_shape), dy, *window)


def bias_of_a_transposed_convolution(case: Case) -> None:
    for number, groups in enumerate((1, 2, 3)):
        stride, extra = (2, 3), (1, number)
        x, w, b = case.normal(2, 6, 4, 3), case.normal(6, 6 // groups, 3, 2), case.normal(6)
        g = conv_transpose_geometry(x.shape, w.shape, stride, 1, extra, groups)
        y = kernels.input_grad(case.be, dy=case.put(x), w=case.put(w), b=case.put(b), geometry=g)
        terms = 6 // groups * 6 + 1
        case.compare(y, terms, transposed.forward, x, w, b, stride, (1, 1), extra, (1, 1), groups)


def groups_in_tiles(case: Case) -> None:
    """Groups with enough channels for tiles, not as many in as out, over volumes with three different sides."""
    for last in (False, True):
        g = conv_geometry((2, 15, 3, 5, 4), (18, 5, 2, 3, 1), 1, (1, 1, 0), groups=3)
        _all_passes(case, g, last)
    x, w, b = case.normal(2, 18, 4, 3), case.normal(18, 5, 3, 2), case.normal(15)
    stride, extra = (2, 1), (1, 0)
    g = conv_transpose_geometry(x.shape, w.shape, stride, 1, extra, 3)
    y = kernels.input_grad(case.be, dy=case.put(x), w=case.put(w), b=case.put(b), geometry=g)
    case.compare(y, 6 * 6 + 1, transposed.forward, x, w, b, stride, (1, 1), extra, (1, 1), 3)


def without_bias(case: Case) -> None:
    """With tiles and without."""
    for channels in (2, 6):
        x, w = case.normal(2, 3, 4, 5), case.normal(channels, 3, 3, 2)
        y = kernels.forward(case.be, x=case.put(x), w=case.put(w), geometry=conv_geometry(x.shape, w.shape, 1, 1))
        case.compare(y, 18, oracle.forward, x, w, None, (1, 1), (1, 1), (1, 1), (1, 1), 1)


def strides_beyond_the_input(case: Case) -> None:
    """Fewer positions than the stride has remainders, in each dimension; a stride that 32 bits do not count."""
    for last in (False, True):
        _all_passes(case, conv_geometry((2, 5, 2, 3, 2), (6, 5, 3, 3, 2), (3, 4, 5), 1), last)
        _all_passes(case, conv_geometry((2, 4, 1), (4, 4, 3), 2**33, 1), last)


def strides_of_volumes(case: Case) -> None:
    """Another stride in each dimension, with several positions of every remainder."""
    for last in (False, True):
        _all_passes(case, conv_geometry((1, 5, 5, 4, 7), (6, 5, 3, 2, 4), (2, 1, 3), (1, 0, 2)), last)


def taps_far_apart(case: Case) -> None:
    """Only the middle tap is inside; the others, and the windows that they belong to, are 2**33 away."""
    for channels, axis in ((4, 2), (1, 0), (1, 1), (1, 2)):
        kernel, far = ([many if i == axis else one for i in range(3)] for one, many in ((1, 3), (0, 2**33)))
        apart = [max(n, 1) for n in far]
        _all_passes(case, conv_geometry((2, channels, 1, 1, 1), (channels, channels, *kernel), 1, far, apart), False)


def one_column_in_the_last_tile(case: Case) -> None:
    """129 positions, one more than any tile's width fills."""
    _all_passes(case, conv_geometry((3, 8, 43), (16, 4, 3), 1, 1, groups=2), False)


def standard(case: Case) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "LEAST_SHARE", 100)
        _all_passes(case, conv_geometry((2, 16, 8, 8), (32, 16, 3, 3), 1, 1), False)
        _all_passes(case, conv_geometry((2, 16, 8, 8), (16, 1, 3, 3), 1, 1, groups=16), False)


def far_positions(case: FarCase) -> None:
    """The last tile, and the last elements of kernels without tiles, of long lines."""
    for inputs, outputs in ((5, 6), (2, 2)):
        _far_passes(case, (1, inputs, FAR + 40), (1, inputs, 40), (outputs, inputs, 3))


def far_full_tile(case: FarCase) -> None:
    """The tile before the last, which has all its columns."""
    x, w, near = case.sparse(1, 5, FAR + 200), case.normal(6, 5, 3), case.normal(1, 5, 130)
    x[..., FAR - 1 : FAR + 129] = near
    case.be.element = FAR // 128 * BLOCK  # of the block that begins with output FAR
    y = kernels.forward(case.be, x=x, w=w, geometry=conv_geometry(x.shape, w.shape, 1, 1))
    case.be.element = None
    case.compare(y[..., FAR : FAR + 128], 15, oracle.forward, near, w, None, (1,), (0,), (0,), (1,), 1)


def far_weights(case: FarCase) -> None:
    """More weights than 32 bits count, and more of one output: the gradient of the last."""
    for channels, positions, last in ((FAR // 4 + 16, 1, False), (FAR + 16, 2, True)):
        x, dy = _far_array(case, (1, channels, positions), last), case.normal(1, 4, positions)
        x[0, -8:] = case.normal(8, positions)
        g = conv_geometry(x.shape, (4, channels, 1))
        dw = kernels.weight_grad(case.be, x=x, dy=drawn.channels_last(dy) if last else dy, geometry=g)
        problem = (x[:, -1:], np.zeros((4, 1, 1)), dy, (1,), (0,), (1,), 1)
        case.compare(dw[-1:, -1:], positions, _last_gradients, 1, (1, 1, 1), *problem)


def far_channels(case: FarCase) -> None:
    """More channels than 32 bits count, each a group, last in memory."""
    channels, near, one = FAR + 5, (1, 4, 2), (1, 1, 1)
    g = conv_geometry((1, channels, 2), (channels, 1, 1), groups=channels)
    x, dy, w = _far_array(case, g.x_shape, True), _far_array(case, g.y_shape, True), case.sparse(*g.w_shape)
    x_end, dy_end, w_end = case.normal(*near), case.normal(*near), case.normal(4, 1, 1)
    end(x, near)[...], end(dy, near)[...], end(w, w_end.shape)[...] = x_end, dy_end, w_end
    problem = (x_end, w_end, dy_end, (1,), (0,), (1,), 4)
    y = kernels.forward(case.be, x=x, w=w, geometry=g)
    case.compare(end(y, one), 1, _last_outputs, one, x_end, w_end, None, (1,), (0,), (0,), (1,), 4)
    dx = kernels.input_grad(case.be, dy=dy, w=w, geometry=g)
    case.compare(end(dx, one), 1, _last_gradients, 0, one, *problem)
    dw = kernels.weight_grad(case.be, x=x, dy=dy, geometry=g)
    case.compare(end(dw, one), 2, _last_gradients, 1, one, *problem)
    case.compare(kernels.bias_grad(case.be, dy=dy)[-1:], 2, _last_gradients, 2, (1,), *problem)


def far_weights_of_an_input_gradient(case: FarCase) -> None:
    """More weights of an output than 32 bits count: the gradient of the last inputs."""
    channels, near, one = FAR + 16, (4, 8, 3), (1, 1, 1)
    g = conv_geometry((1, channels, 2), (4, channels, 3), 1, 1)
    for last in (False, True):
        w, dy, w_end = _far_array(case, g.w_shape, last), case.normal(1, 4, 2), case.normal(*near)
        end(w, near)[...] = w_end
        there = drawn.channels_last(dy) if last else np.ascontiguousarray(dy)
        dx = kernels.input_grad(case.be, dy=there, w=w, geometry=g)
        problem = (np.zeros((1, 8, 2)), w_end, dy, (1,), (1,), (1,), 1)
        case.compare(end(dx, one), 12, _last_gradients, 0, one, *problem)


def far_images(case: FarCase) -> None:
    """Likewise of many images."""
    for inputs, outputs in ((5, 6), (2, 2)):
        _far_passes(case, (FAR // 4 + 16, inputs, 3), (4, inputs, 3), (outputs, inputs, 3))


def far_rows(case: FarCase) -> None:
    """Likewise of long columns, and of many planes."""
    for axis in (0, 1):
        long, near, kernel = ([n if i == axis else 1 for i in range(3)] for n in (FAR + 40, 40, 3))
        _far_passes(case, (1, 2, *long), (1, 2, *near), (2, 2, *kernel))


def _far_passes(case: FarCase, shape: Any, near: Any, w_shape: Any) -> None:
    """All but the last ``near`` elements of x and dy are 0; of the results the last elements are looked at."""
    ones, pad = (1,) * (len(shape) - 2), tuple(k // 2 for k in w_shape[2:])
    g, small = conv_geometry(shape, w_shape, 1, pad), conv_geometry(near, w_shape, 1, pad)
    window, taps, one = (ones, pad, ones, 1), prod(w_shape[2:]), (1, 1, *ones)
    some = tuple(min(2, n) for n in one[:2] + shape[2:])
    for last in (False, True):
        x, dy = (_far_array(case, shape, last) for shape in (g.x_shape, g.y_shape))
        w = case.normal(*w_shape)
        x_end, dy_end = case.normal(*small.x_shape), case.normal(*small.y_shape)
        end(x, small.x_shape)[...], end(dy, small.y_shape)[...] = x_end, dy_end
        y = kernels.forward(case.be, x=x, w=w, geometry=g)
        case.compare(end(y, some), w_shape[1] * taps, _last_outputs, some, x_end, w, None, ones, pad, pad, ones, 1)
        dx = kernels.input_grad(case.be, dy=dy, w=w, geometry=g)
        case.compare(end(dx, some), w_shape[0] * taps, _last_gradients, 0, some, x_end, w, dy_end, *window)
        dw = kernels.weight_grad(case.be, x=x, dy=dy, geometry=g)
        case.compare(end(dw, one), 40, _last_gradients, 1, one, x_end, w, dy_end, *window)
        case.compare(kernels.bias_grad(case.be, dy=dy)[-1:], 40, _last_gradients, 2, (1,), x_end, w, dy_end, *window)


def _far_array(case: FarCase, shape: Any, last: bool) -> np.ndarray:
    return np.moveaxis(case.sparse(shape[0], *shape[2:], shape[1]), -1, 1) if last else case.sparse(*shape)


def _last_outputs(some: Any, *problem: Any) -> np.ndarray:
    return end(oracle.forward(*problem), some)


def _last_gradients(which: int, some: Any, *problem: Any) -> np.ndarray:
    return end(_gradient(which, *problem), some)
