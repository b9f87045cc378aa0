"""Cases of convolutions on tensor cores, for ``conv_mma`` and ``conv_mma_precise``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
import pytest

from nnlab import precision
from nnlab.geometry import ConvGeometry, conv_geometry
from nnlab.ops._cuda import conv, conv_fold, conv_mma, conv_relu, conv_relu_max_pool
from tests.cuda import drawn
from tests.cuda.case import Case
from tests.cuda.far import FAR, FarCase, end
from tests.oracles import activation
from tests.oracles import conv as oracle
from tests.oracles import conv_relu as relu_oracle
from tests.oracles import conv_relu_max_pool as pool_oracle

# (inputs, outputs, groups): of 16 bytes and not.
CHANNELS = [(16, 16, 1), (3, 17, 1), (8, 16, 2), (20, 40, 1)]


def tf32(values: np.ndarray) -> np.ndarray:
    """float32 rounded to the nearest number of 11 bits, halves away from 0."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


@contextmanager
def using(case: Case, setting: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(case.be, "tensor_cores", True)
        patch.setattr(precision, "_conv", setting)
        yield


def all_passes(case: Case, g: ConvGeometry, last: bool, setting: str) -> None:
    """With float32 and "medium" what is multiplied is rounded to tf32."""
    assert prod(g.w_shape[1:]) >= conv_mma.LEAST_TERMS
    order: Any = drawn.channels_last if last else np.asarray
    x, w, b, dy = case.normal(*g.x_shape), case.normal(*g.w_shape), case.normal(g.w_shape[0]), case.normal(*g.y_shape)
    x, dy = order(x), order(dy)
    seen = tf32 if setting == "medium" and case.dtype == np.float32 else np.asarray
    a, v, d = seen(x), seen(w), seen(dy)
    window, positions = (g.stride, g.pad_low), g.y_shape[0] * prod(g.out_size)
    with using(case, setting):
        assert conv_mma.takes(case.be, g, case.dtype)
        y = conv.forward(case.be, x=case.put(x), w=case.put(w), b=case.put(b), geometry=g)
        dx = conv.input_grad(case.be, dy=case.put(dy), w=case.put(w), geometry=g)
        dw, db = conv.parameter_grads(case.be, x=case.put(x), dy=case.put(dy), geometry=g)
        alone = conv.weight_grad(case.be, x=case.put(x), dy=case.put(dy), geometry=g)
    case.compare(y, prod(g.w_shape[1:]) + 1, oracle.forward, a, v, b, *window, g.pad_low, g.dilation, g.groups)
    terms = g.w_shape[0] // g.groups * prod(g.kernel)
    case.compare(dx, terms, _gradient, 0, a, v, d, *window, g.dilation, g.groups)
    case.compare(dw, positions, _gradient, 1, a, v, d, *window, g.dilation, g.groups)
    case.compare(db, positions, _gradient, 2, a, v, dy, *window, g.dilation, g.groups)
    np.testing.assert_array_equal(case.be.to_numpy(alone), case.be.to_numpy(dw))


def _gradient(which: int, *problem: Any) -> np.ndarray:
    return oracle.gradients(*problem)[which]


def drawn_convolutions(case: Case, setting: str) -> None:
    """Every number of channels, with windows as drawn for other kernels."""
    for number, (inputs, outputs, groups) in enumerate(CHANNELS):
        dims = 1 + number % 3
        while True:
            g = drawn.convolution(case.random, dims)
            w_shape = (groups * outputs, inputs, *g.kernel)
            if prod(w_shape[1:]) >= conv_mma.LEAST_TERMS:
                break
        x_shape = (2, groups * inputs, *g.in_size)
        g = conv_geometry(x_shape, w_shape, g.stride, g.pad_low, g.dilation, groups)
        all_passes(case, g, number % 2 == 1, setting)


def several_tiles_and_parts(case: Case, setting: str) -> None:
    """More rows, columns and slices than tiles and stages hold, and sums of several parts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv_mma, "LEAST_SHARE", 50)  # two parts of the first one too, which is folded
        all_passes(case, conv_geometry((2, 17, 9, 8), (136, 17, 3, 3), 1, 1), True, setting)
        all_passes(case, conv_geometry((1, 144, 5, 6), (16, 144, 2, 2), (1, 2), 1), False, setting)


FEW_CHANNELS = [  # input, weight, stride, padding: AlexNet's and VGG's first layers and their like
    ((2, 3, 23, 27), (16, 3, 11, 11), 4, 2),
    ((2, 3, 5, 6), (24, 3, 3, 3), 1, 1),
    ((1, 3, 14, 17), (17, 3, 7, 7), 2, 3),
    ((3, 2, 33), (16, 2, 16), 5, 3),
    ((1, 1, 7, 5, 9), (16, 1, 5, 3, 5), (3, 1, 2), (1, 0, 2)),
]


def few_channels(case: Case, setting: str) -> None:
    """Inputs that are sorted by remainders, in parts; relu's mask is in the order of the outputs; maxima are taken of
    neighbours that are places."""
    folds = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv_mma, "LEAST_SHARE", 40)
        for number, problem in enumerate(FEW_CHANNELS):
            g = conv_geometry(*problem)
            folds.append(conv_fold.choose(g, case.dtype.itemsize))
            all_passes(case, g, number % 2 == 1, setting)
            _rectified(case, g, setting)
            with using(case, setting):
                pools = conv_mma.pools(case.be, g, case.dtype)
            together = 1 if folds[-1] is None else folds[-1].together
            assert pools == (len(g.kernel) == 2 and together == 1)
            if pools:
                _pooled(case, g, setting)
    assert {fold.together for fold in folds if fold is not None} == {1, 2}


def rectified(case: Case, setting: str) -> None:
    """relu in the same kernel: the bits of relu after the convolution; and the mask. One tile and several."""
    chunk = 16 // case.dtype.itemsize
    for inputs, outputs, groups in (*CHANNELS, (8, 136, 1), (chunk, 5 * chunk, 2)):
        g = conv_geometry((3, groups * inputs, 7, 7), (groups * outputs, inputs, 4, 3), 1, 1, 1, groups)
        _rectified(case, g, setting)


def _rectified(case: Case, g: ConvGeometry, setting: str) -> None:
    x, w, b = case.normal(*g.x_shape), case.normal(*g.w_shape), case.normal(g.w_shape[0])
    x[(0, 0, *[0] * len(g.kernel))], x[(-1, 0, *[n // 2 for n in g.in_size])] = np.nan, np.inf
    given = {"x": case.put(x), "w": case.put(w), "b": case.put(b), "geometry": g}
    with using(case, setting):
        assert conv_mma.takes(case.be, g, case.dtype)
        plain = conv.forward(case.be, **given)
        y, mask = conv_relu.forward(case.be, **given)
        alone, nothing = conv_relu.forward(case.be, **given, keep=False)
    assert nothing is None
    found = case.be.to_numpy(y)
    assert not np.isfinite(found).all() and (found == 0).any()
    case.compare(y, None, activation.relu, case.be.to_numpy(plain))
    case.compare(alone, None, activation.relu, case.be.to_numpy(plain))
    assert not np.signbit(found.astype(np.float64)).any(where=found == 0)
    case.compare(mask, None, relu_oracle.mask, found, chunk=16 // case.dtype.itemsize)


def pooled(case: Case, setting: str) -> None:
    """Maxima of 2 x 2 windows in the same kernel: even and odd sizes, one tile and several, strides and groups."""
    chunk = 16 // case.dtype.itemsize
    sizes = [(7, 8), (2, 5), (4, 4), (9, 3), (6, 7), (11, 10)]
    channels = (*CHANNELS, (8, 136, 1), (chunk, 5 * chunk, 2))
    for number, ((inputs, outputs, groups), size) in enumerate(zip(channels, sizes, strict=True)):
        stride = (1, 2) if number == 2 else 1
        g = conv_geometry((3, groups * inputs, *size), (groups * outputs, inputs, 3, 3), stride, 1, 1, groups)
        _pooled(case, g, setting)


def _pooled(case: Case, g: ConvGeometry, setting: str) -> None:
    """The bits of pooling and relu after the convolution. Of numbers like these many are equal."""
    x, w, b = (case.host(case.random.integers(-2, 3, shape)) for shape in (g.x_shape, g.w_shape, g.w_shape[:1]))
    x[0, 0, 0, 0], x[-1, -1, -1, -1], x[-1, 0, 0, 0] = np.nan, np.inf, -np.inf
    given = {"x": case.put(x), "w": case.put(w), "geometry": g}
    with using(case, setting):
        for bias in (case.put(b), None):
            assert conv_mma.pools(case.be, g, case.dtype)
            plain = case.be.to_numpy(conv.forward(case.be, **given, b=bias))
            found = conv_relu_max_pool.forward(case.be, **given, b=bias)
            alone, nothing = conv_relu_max_pool.forward(case.be, **given, b=bias, keep=False)
            assert nothing is None
            case.compare(found, None, pool_oracle.forward, plain)
            case.compare(alone, None, _maxima, plain)
            assert not np.signbit(case.be.to_numpy(alone).astype(np.float64)).any(where=case.be.to_numpy(alone) == 0)


def _maxima(z: np.ndarray) -> np.ndarray:
    return pool_oracle.forward(z)[0]


def standard(case: Case, setting: str) -> None:
    g = conv_geometry((1, 36, 8, 9), (64, 36, 3, 3), 1, 1)
    all_passes(case, g, True, setting)
    _rectified(case, g, setting)
    _pooled(case, g, setting)


def far_positions(case: FarCase, setting: str) -> None:
    """More positions than 32 bits count, of one image and of many."""
    for shape, near in (((1, 16, FAR + 40), (1, 16, 40)), ((FAR // 32 + 16, 16, 3), (4, 16, 3))):
        g, small = conv_geometry(shape, (16, 16, 3), 1, 1), conv_geometry(near, (16, 16, 3), 1, 1)
        _far_passes(case, g, small, setting)


def far_results(case: FarCase, setting: str) -> None:
    """Of channels that are no multiple of 16 bytes, and in all parts of a weight gradient."""
    g, small = (conv_geometry((1, 16, n), (17, 16, 3), 1, 1) for n in (FAR // 16 + 40, 40))
    _far_passes(case, g, small, setting, "forward")
    g, small = (conv_geometry((1, 32, n), (32, 32, 3), 1, 1) for n in (FAR // 32 + 40, 40))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv_mma, "LEAST_SHARE", 64)
        patch.setattr(conv_mma, "LARGEST_SHARE", 64)
        _far_passes(case, g, small, setting, "weight_grad")


def far_maxima(case: FarCase, setting: str) -> None:
    """More windows than 32 bits count: of one image, of many, and of channels that are no multiple of 16 bytes."""
    for outputs, shape, near in (
        (16, (1, 16, FAR + 40, 2), (1, 16, 40, 2)),
        (16, (FAR // 16 + 16, 16, 3, 2), (4, 16, 3, 2)),
        (17, (1, 16, FAR // 4 + 40, 3), (1, 16, 40, 3)),
    ):
        g, small = (conv_geometry(s, (outputs, 16, 3, 1), 1, (1, 0)) for s in (shape, near))
        images, channels, *size = shape
        x, ends = np.moveaxis(case.sparse(images, *size, channels), -1, 1), case.normal(*small.x_shape)
        end(x, ends.shape)[...] = ends
        w = case.normal(*g.w_shape)
        seen = tf32 if setting == "medium" and case.dtype == np.float32 else np.asarray
        with using(case, setting):
            assert conv_mma.pools(case.be, g, case.dtype)
            y, places = conv_relu_max_pool.forward(case.be, x=x, w=w, geometry=g)
        one = (1, 2, 1, 1)
        problem = (seen(ends), seen(w), None, *_window(small))
        case.compare(end(y, one), 48, _last_maxima, 0, one, *problem)
        case.compare(end(places, one), None, _last_maxima, 1, one, *problem)


def _window(g: ConvGeometry) -> tuple[Any, ...]:
    return g.stride, g.pad_low, g.pad_low, g.dilation, g.groups


def _last_maxima(which: int, some: Any, *problem: Any) -> np.ndarray:
    return end(pool_oracle.forward(oracle.forward(*problem))[which], some)


def far_channels(case: FarCase, setting: str) -> None:
    """More weights than 32 bits count: of many outputs, and of many inputs."""
    many = FAR // 32 + 16
    for outputs, inputs, passes in ((many, 32, "forward weight_grad"), (32, many, "input_grad weight_grad")):
        g, small = conv_geometry((1, inputs, 2), (outputs, inputs, 1)), _near(outputs, inputs)
        _far_passes(case, g, small, setting, passes)


def _near(outputs: int, inputs: int) -> ConvGeometry:
    """The same with at most 32 channels."""
    return conv_geometry((1, min(inputs, 32), 2), (min(outputs, 32), min(inputs, 32), 1))


def _far_passes(
    case: FarCase, g: ConvGeometry, small: ConvGeometry, setting: str, passes: str = "forward input_grad weight_grad"
) -> None:
    """All but the last elements of x, w and dy are 0, as many as ``small`` has; the last results are looked at."""
    x, dy = (np.moveaxis(case.sparse(n, *rest, c), -1, 1) for n, c, *rest in (g.x_shape, g.y_shape))
    # In the order that a pass reads, so that nothing is copied.
    w = case.sparse(g.w_shape[1], g.w_shape[0], *g.kernel).swapaxes(0, 1) if passes.startswith("input") else None
    w = case.sparse(*g.w_shape) if w is None else w
    ends = [case.normal(*shape) for shape in (small.x_shape, small.w_shape, small.y_shape)]
    for array, values in zip((x, w, dy), ends, strict=True):
        end(array, values.shape)[...] = values
    seen = tf32 if setting == "medium" and case.dtype == np.float32 else np.asarray
    a, v, d = map(seen, ends)
    window, one = ((1,), small.pad_low), (1, 2, 1)
    with using(case, setting):
        assert conv_mma.takes(case.be, g, case.dtype)
        if "forward" in passes:
            y = conv.forward(case.be, x=x, w=w, geometry=g)
            problem = (a, v, None, *window, small.pad_low, (1,), 1)
            case.compare(end(y, one), prod(small.w_shape[1:]), _last_outputs, one, *problem)
        if "input_grad" in passes:
            dx = conv.input_grad(case.be, dy=dy, w=w, geometry=g)
            terms = small.w_shape[0] * prod(g.kernel)
            case.compare(end(dx, one), terms, _last_gradients, 0, one, a, v, d, *window, (1,), 1)
        if "weight_grad" in passes:
            dw = conv.weight_grad(case.be, x=x, dy=dy, geometry=g)
            case.compare(end(dw, one), 40, _last_gradients, 1, one, a, v, d, *window, (1,), 1)


def _last_outputs(some: Any, *problem: Any) -> np.ndarray:
    return end(oracle.forward(*problem), some)


def _last_gradients(which: int, some: Any, *problem: Any) -> np.ndarray:
    return end(_gradient(which, *problem), some)
