"""Convolution and relu without tensor cores, and the gradient through a mask; masks are made in tensor_cores.py."""

from __future__ import annotations

from math import prod

import numpy as np

from nnlab.geometry import conv_geometry
from nnlab.ops._cuda import conv_relu as kernels
from tests.cuda import drawn
from tests.cuda.case import Case
from tests.cuda.far import FAR, FarCase, end
from tests.oracles import activation
from tests.oracles import conv as conv_oracle
from tests.oracles import conv_relu as oracle

SHAPES = [(2, 17, 3, 5), (3, 32, 7), (1, 33, 40), (5, 8), (0, 8, 3), (2, 72, 3)]


def rectified_in_place(case: Case) -> None:
    """With channels first and last."""
    for number in range(6):
        g = drawn.convolution(case.random, 1 + number % 3)
        x, w, b, dy = (case.normal(*shape) for shape in (g.x_shape, g.w_shape, g.w_shape[:1], g.y_shape))
        x = drawn.channels_last(x) if number % 2 else x
        y, saved = kernels.forward(case.be, x=case.put(x), w=case.put(w), b=case.put(b), geometry=g)
        assert saved is y
        window = (g.stride, g.pad_low, g.pad_low, g.dilation, g.groups)
        case.compare(y, prod(g.w_shape[1:]) + 1, _rectified, x, w, b, *window)
        dz = kernels.backward(case.be, dy=case.put(dy), saved=saved)
        case.compare(dz, None, oracle.backward, dy, case.be.to_numpy(y))


def _rectified(x: np.ndarray, w: np.ndarray, b: np.ndarray, *window: object) -> np.ndarray:
    return activation.relu(conv_oracle.forward(x, w, b, *window))


def special_numbers(case: Case) -> None:
    """1 x 1 convolutions by 1: NaN stays, negative zero becomes zero."""
    special = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1.0, -1.0])
    x, w = case.host(special.reshape(1, 1, 7)), case.host(np.ones((1, 1, 1)))
    g = conv_geometry(x.shape, w.shape)
    y, saved = kernels.forward(case.be, x=case.put(x), w=case.put(w), geometry=g, keep=False)
    assert saved is None
    case.compare(y, None, activation.relu, x)
    assert not np.signbit(case.be.to_numpy(y).astype(np.float64)).any(where=case.be.to_numpy(y) == 0)


def through_a_mask(case: Case) -> None:
    for shape in SHAPES:
        _through_a_mask(case, case.normal(*shape))


def standard(case: Case) -> None:
    x = case.normal(2, 8, 6)
    g = conv_geometry(x.shape, (4, 8, 3))
    w = case.normal(*g.w_shape)
    y, _ = kernels.forward(case.be, x=case.put(x), w=case.put(w), geometry=g)
    case.compare(y, 24, _rectified, x, w, None, (1,), (0,), (0,), (1,), 1)
    _through_a_mask(case, case.normal(2, 64, 8, 8))


def infinite_gradients(case: Case) -> None:
    """What is infinite or NaN passes where y is not 0, and nowhere else."""
    for channels in (16, 15):
        _through_a_mask(case, case.host(np.resize([np.inf, np.nan, -np.inf, 1.0, 2.0], (2, channels, 9))))


def _through_a_mask(case: Case, dy: np.ndarray) -> None:
    """With channels first and last in memory."""
    y = np.maximum(case.random.standard_normal(dy.shape), 0)
    mask = case.put(oracle.mask(y, 16 // case.dtype.itemsize))
    for given in (dy, drawn.channels_last(dy)):
        dz = kernels.backward(case.be, dy=case.put(given), saved=mask)
        case.compare(dz, None, oracle.backward, dy, y)


def far_elements(case: FarCase) -> None:
    """The end of a long line."""
    x, near = case.sparse(1, 1, FAR + 5), case.normal(1, 1, 5)
    x[..., -5:] = near
    g = conv_geometry(x.shape, (1, 1, 1))
    y, _ = kernels.forward(case.be, x=x, w=np.ones((1, 1, 1), x.dtype), geometry=g, keep=False)
    case.compare(y[..., -5:], None, activation.relu, near)


def far_gradients(case: FarCase) -> None:
    """Far positions of few channels, and the last of very many channels."""
    for positions, channels in ((FAR + 5, 4), (FAR + 5, 8), (2, FAR + 8)):
        memory, near = case.sparse(1, positions, channels), case.normal(1, min(positions, 5), min(channels, 8))
        mask = case.be.xp.zeros((positions, -(-channels // 8)), np.uint8)
        y = np.moveaxis(np.maximum(near, 0), -1, 1)
        end(memory, near.shape)[...], end(mask, (near.shape[1], 1))[...] = near, oracle.mask(y, 8)
        dz = kernels.backward(case.be, dy=np.moveaxis(memory, -1, 1), saved=mask)
        case.compare(
            end(dz, y.shape)[:, :, -1:], None, oracle.backward, np.moveaxis(near, -1, 1)[..., -1:], y[..., -1:]
        )
