"""The gradient through places of maxima; the convolution that makes them is in tensor_cores.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnlab.geometry import ConvGeometry, conv_geometry
from nnlab.ops._cuda import conv_relu_max_pool as kernels
from tests.cuda import drawn
from tests.cuda.case import Case
from tests.cuda.far import FAR, FarCase, end
from tests.oracles import conv_relu_max_pool as oracle

# (images, channels, height, width) of the convolution's result: of 16 bytes and not, even and odd.
SHAPES = [(2, 17, 3, 5), (3, 32, 2, 4), (1, 24, 7, 2), (2, 3, 4, 3), (1, 72, 5, 5), (2, 12, 2, 2), (0, 16, 4, 4)]


def standard(case: Case) -> None:
    _passes(case, (2, 64, 9, 8))


def sizes(case: Case) -> None:
    for shape in SHAPES:
        _passes(case, shape)


def infinite_gradients(case: Case) -> None:
    """What is infinite or NaN goes to the maximum alone."""
    for channels in (16, 15):
        _passes(case, (2, channels, 6, 7), [np.inf, np.nan, -np.inf, 1.0, 2.0])


def zero_gradients(case: Case) -> None:
    """Negative zeros become positive, as in max_pool_scatter."""
    dy, places = case.host(np.full((1, 16, 1, 1), -0.0)), np.zeros((1, 16, 1, 1), np.uint8)
    dz = kernels.backward(case.be, dy=case.put(dy), saved=case.put(places), geometry=_geometry((1, 16, 2, 2)))
    case.compare(dz, None, oracle.backward, dy, places, (2, 2))
    assert not np.signbit(case.be.to_numpy(dz).astype(np.float64)).any()


def _geometry(shape: tuple[int, ...]) -> ConvGeometry:
    return conv_geometry(shape, (shape[1], shape[1], 1, 1))


def _passes(case: Case, shape: tuple[int, ...], values: Any = None) -> None:
    """With channels first and last in memory; every place occurs."""
    g = _geometry(shape)
    pooled = (*shape[:2], shape[2] // 2, shape[3] // 2)
    dy = case.normal(*pooled) if values is None else case.host(np.resize(values, pooled))
    dz, places = case.normal(*shape), case.random.integers(0, 5, pooled).astype(np.uint8)
    saved = case.put(drawn.channels_last(places))
    for order in (np.asarray, drawn.channels_last):
        found = kernels.backward(case.be, dy=case.put(order(dy)), saved=saved, geometry=g)
        case.compare(found, None, oracle.backward, dy, places, shape[2:])
        found = kernels.gather(case.be, dz=case.put(order(dz)), saved=saved, geometry=g)
        case.compare(found, None, oracle.gather, dz, places)


def far_gradients(case: FarCase) -> None:
    """Far positions, far images, and the last of very many channels; windows that are cut off at the end too."""
    for images, channels, height, width in (
        (1, 8, FAR + 4, 2), (1, 4, FAR + 4, 2), (1, 8, 2, FAR + 4), (FAR // 16 + 3, 16, 3, 2), (1, FAR + 8, 2, 2),
    ):  # fmt: skip
        g = _geometry((images, channels, height, width))
        shape = (images, height // 2, width // 2, channels)
        dy, places = case.sparse(*shape), case.be.xp.zeros(shape, np.uint8)
        near = tuple(min(n, most) for n, most in zip(shape, (1, 2, 2, 4)))
        values, some = case.normal(*near), case.random.integers(0, 5, near).astype(np.uint8)
        end(dy, near)[...], end(places, near)[...] = values, some
        dz = kernels.backward(case.be, dy=np.moveaxis(dy, -1, 1), saved=np.moveaxis(places, -1, 1), geometry=g)
        last = tuple(min(n, 2) for n in (height, width))
        if height % 2:
            case.compare(end(dz, (1, 4, 1, 2)), None, np.zeros, (1, 4, 1, 2))
        else:
            small = (a[:1, -1:, -1:].transpose(0, 3, 1, 2) for a in (values, some))
            case.compare(end(dz, (1, 4, *last)), None, oracle.backward, *small, last)
