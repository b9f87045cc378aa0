"""kernels/conv.cu through its launches and the gate, run on the host, against float64 loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlab.cuda import launch
from nnlab.errors import DtypeError
from nnlab.geometry import conv_geometry
from nnlab.ops import conv as ops
from nnlab.ops._cuda import conv as kernels
from tests.cuda.common import CPU, DTYPES, EMULATED, near
from tests.cuda.convolution import LARGER, MEMORY, check, compare, draw, expected, passes, small_shares
from tests.cuda.drawn import channels_last
from tests.ops.common import rng
from tests.ops.test_conv import SIZES, problems

ORDERS: list[str | int] = ["ascending", "descending", 5, 6]


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_every_stride_padding_dilation_and_groups(dims: int) -> None:
    for number, kernel, stride, padding, dilation, groups, _, high in problems(dims):
        g = conv_geometry((2, 4, *SIZES[dims]), (8, 4 // groups, *kernel), stride, padding, dilation, groups)
        with EMULATED.ordered(ORDERS[number // 2 % 4]):
            check(g, DTYPES[number % 4], number, MEMORY[number // 4 % 3], high, str((kernel, g)))


@given(
    st.lists(st.tuples(*[st.integers(1, 4), st.integers(1, 5), st.integers(0, 3), st.integers(1, 3)]), min_size=3),
    st.tuples(st.integers(1, 3), st.integers(0, 3), st.integers(0, 9)),
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 20)),
    st.sampled_from(DTYPES),
    st.sampled_from(MEMORY),
)
def test_drawn_shapes(
    per_dimension: Any, problem: tuple[int, int, int], channels: tuple[int, int, int], dtype: str, memory: Any
) -> None:
    dims, images, room = problem
    groups, inputs, outputs = channels
    kernel, stride, pad, dilation = zip(*per_dimension[:dims], strict=True)
    size = [max(1, d * (k - 1) + 1 - 2 * p) + room // dims for k, d, p in zip(kernel, dilation, pad, strict=True)]
    x_shape, w_shape = (images, groups * inputs, *size), (groups * outputs, inputs, *kernel)
    check(conv_geometry(x_shape, w_shape, stride, pad, dilation, groups), dtype, room, memory)


@pytest.mark.parametrize("memory", MEMORY[1:])
@pytest.mark.parametrize("g", LARGER, ids=range(len(LARGER)))
def test_the_order_of_threads_does_not_change_bits(monkeypatch: pytest.MonkeyPatch, g: Any, memory: Any) -> None:
    small_shares(monkeypatch)
    shapes = (g.x_shape, g.w_shape, g.w_shape[:1], g.y_shape)
    x, w, b, dy = (draw(i, *shape) for i, shape in enumerate(shapes))
    first = passes(memory(x), w, b, memory(dy), g)
    compare(first, expected(x, w, b, dy, g), g)
    for order in ORDERS[1:]:
        with EMULATED.ordered(order):
            for found, want in zip(passes(memory(x), w, b, memory(dy), g), first, strict=True):
                np.testing.assert_array_equal(found, want, strict=True)


def _launches(monkeypatch: pytest.MonkeyPatch) -> list[launch.Launch]:
    started: list[launch.Launch] = []
    run = launch.run
    monkeypatch.setattr(launch, "run", lambda be, ready: (started.append(ready), run(be, ready)))
    return started


def _is_last(array: np.ndarray) -> bool:
    return np.moveaxis(array, 1, -1).flags.c_contiguous and not array.flags.c_contiguous


@pytest.mark.parametrize("w_shape", [(6, 4, 3, 3), (4, 1, 3, 3)])
def test_channels_last_are_computed_as_they_lie(monkeypatch: pytest.MonkeyPatch, w_shape: Any) -> None:
    started = _launches(monkeypatch)
    g = conv_geometry((2, 4, 7, 6), w_shape, 1, 1, groups=4 // w_shape[1])
    x, w, dy = channels_last(draw(1, *g.x_shape)), draw(2, *w_shape), channels_last(draw(3, *g.y_shape))
    found = y, dx, dw, db = passes(x, w, None, dy, g)
    compare(list(found), expected(x, w, None, dy, g), g)
    assert _is_last(y) and _is_last(dx) and dw.flags.c_contiguous
    used = [[one for one in ready.arguments if isinstance(one, np.ndarray)] for ready in started]
    for passed, arrays in zip(used, ([x, y], [dy, dx], [x, dy], [dw], [dy], [db]), strict=True):
        for array in arrays:
            assert any(np.shares_memory(array, one) for one in passed)
    for mixed in ((np.ascontiguousarray(x), dy), (x, np.ascontiguousarray(dy))):
        near(kernels.weight_grad(EMULATED, x=mixed[0], dy=mixed[1], geometry=g), dw.astype(float), 84)


def test_one_channel_or_one_position_counts_as_channels_first() -> None:
    for shape in ((2, 1, 5, 4), (2, 5, 1, 1), (3, 1, 1)):
        g = conv_geometry(shape, (6, shape[1], *[1] * (len(shape) - 2)))
        x, w = channels_last(draw(1, *shape)), draw(2, *g.w_shape)
        assert kernels.forward(EMULATED, x=x, w=w, geometry=g).flags.c_contiguous


@pytest.mark.parametrize("w_shape", [(6, 4, 3), (2, 2, 3), (4, 1, 3)])
def test_without_images(w_shape: tuple[int, ...]) -> None:
    g = conv_geometry((0, 4, 5), w_shape, groups=4 // w_shape[1])
    x, w, dy = np.zeros(g.x_shape, np.float32), draw(1, *w_shape), np.zeros(g.y_shape, np.float32)
    y, dx, dw, db = passes(x, w, None, dy, g)
    assert (y.shape, dx.shape) == (g.y_shape, g.x_shape)
    np.testing.assert_array_equal(dw, np.zeros(w_shape, np.float32), strict=True)
    np.testing.assert_array_equal(db, np.zeros(w_shape[0], np.float32), strict=True)


def test_64_bit_indices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_INDEX_LIMIT", -1)
    started = _launches(monkeypatch)
    for key, g in enumerate(LARGER):
        check(g, "float32", key, MEMORY[1 + key % 2])
    assert {ready.macros["INDEX_BITS"] for ready in started} == {64}


@pytest.mark.parametrize("channels", [1, 5])
def test_indices_that_32_bits_do_not_hold(monkeypatch: pytest.MonkeyPatch, channels: int) -> None:
    """A window whose outer taps are 2**31 away, and rows of it 2**33: the gate is told and takes 64 bit."""
    started = _launches(monkeypatch)
    x, w = draw(1, 1, channels, 1, 1), draw(2, channels, channels, 3, 3)
    g = conv_geometry(x.shape, w.shape, 2**33, 2**31, 2**31)
    y, dx, dw, db = passes(x, w, None, x, g)
    middle = w[:, :, 1, 1]
    near(y[0, :, 0, 0], middle.astype(float) @ x[0, :, 0, 0], channels)
    near(dx[0, :, 0, 0], middle.T.astype(float) @ x[0, :, 0, 0], channels)
    wanted = np.zeros(w.shape)
    wanted[:, :, 1, 1] = np.outer(x, x)
    near(dw, wanted, 1)
    np.testing.assert_array_equal(db, x[0, :, 0, 0])
    assert {ready.macros["INDEX_BITS"] for ready in started[:3]} == {64}


def test_a_common_multiple_that_32_bits_do_not_hold() -> None:
    """The stride and the dilation have one above 2**31, but no index goes so far."""
    g = conv_geometry((1, 5, 70_000), (4, 5, 2), 65_537, 0, 65_539)
    check(g, "float32", 7)


@pytest.mark.parametrize(("dtype", "half"), [("float16", 2**-11), ("bfloat16", 2**-8)])
@pytest.mark.parametrize("w_shape", [(8, 64, 3, 3), (2, 64, 3, 3)])
def test_half_adds_up_in_float32(w_shape: tuple[int, ...], dtype: str, half: float) -> None:
    random = rng(122)
    g = conv_geometry((2, 64, 8, 8), w_shape)
    x, w, dy = (random.uniform(0.5, 1, s).astype(dtype) for s in (g.x_shape, g.w_shape, g.y_shape))
    for found, want in zip(passes(x, w, None, dy, g), expected(x, w, None, dy, g), strict=True):
        assert found.dtype == dtype
        np.testing.assert_allclose(found.astype(float), want, rtol=half + 1e-5)


@pytest.mark.parametrize("channels", [1, 4])
def test_long_sums_stay_accurate(channels: int) -> None:
    """Weight and bias gradients over many positions: a long float32 chain would be off by a hundred times as much."""
    random = rng(123)
    g = conv_geometry((2, channels, 128, 128), (channels, channels, 1, 1))
    x, dy = (random.uniform(0.5, 1, s).astype(np.float32) for s in (g.x_shape, g.y_shape))
    dw = kernels.weight_grad(EMULATED, x=x, dy=dy, geometry=g)[:, :, 0, 0]
    np.testing.assert_allclose(dw, np.einsum("nohw,nchw->oc", dy.astype(float), x), rtol=1e-5)
    db = kernels.bias_grad(EMULATED, dy=dy)
    np.testing.assert_allclose(db, dy.astype(float).sum(axis=(0, 2, 3)), rtol=1e-6)


# (channels, size, outputs, kernel, stride, padding) of AlexNet's layers, with a few of their channels.
ALEXNET = [(3, 63, 8, 11, 4, 2), (8, 15, 24, 5, 1, 2), (24, 13, 48, 3, 1, 1), (36, 13, 32, 3, 1, 1)]


def test_alexnets_layers() -> None:
    for key, (inputs, size, outputs, kernel, stride, padding) in enumerate(ALEXNET):
        g = conv_geometry((2, inputs, size, size), (outputs, inputs, kernel, kernel), stride, padding)
        x, w, b, dy = (draw(key + i, *s) for i, s in enumerate((g.x_shape, g.w_shape, (outputs,), g.y_shape)))
        wanted = [
            ops.forward(CPU, x=x, w=w, b=b, geometry=g),
            ops.input_grad(CPU, dy=dy, w=w, geometry=g),
            ops.weight_grad(CPU, x=x, dy=dy, geometry=g),
            ops.bias_grad(CPU, dy=dy),
        ]
        compare(passes(x, w, b, dy, g), wanted, g)


def test_the_tile_and_the_parts_depend_on_shapes_alone() -> None:
    assert [kernels.tile_rows(rows) for rows in (4, 32, 33, 512)] == [16, 16, 64, 64]
    assert kernels.shares(0, 9, 512) == (512, 1)
    assert kernels.shares(100_000, 1, 512) == (512, 196)
    assert kernels.shares(1_000_000, 4, 512) == (3907, 256)
    assert kernels.shares(1_000_000, 1000, 512) == (8192, 123)


def test_integers_are_refused() -> None:
    x, w = np.ones((1, 1, 4), np.int64), np.ones((1, 1, 2), np.int64)
    with pytest.raises(DtypeError, match=r"\[conv_forward_direct\] 'x' must be one of float32, float64, float16"):
        kernels.forward(EMULATED, x=x, w=w, geometry=conv_geometry(x.shape, w.shape))
