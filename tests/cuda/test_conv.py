"""kernels/conv.cu through its launches and the gate, run on the host, against float64 loops."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlab.cuda import launch
from nnlab.errors import DtypeError
from nnlab.geometry import ConvGeometry, conv_geometry, conv_transpose_geometry
from nnlab.ops import conv as conv_ops
from nnlab.ops import conv_transpose as transpose_ops
from nnlab.ops._cuda import conv as kernels
from tests.cuda.common import CPU, DTYPES, EMULATED, NOTICED, break_sources, near
from tests.cuda.drawn import channels_last
from tests.ops.common import rng, scattered
from tests.ops.test_conv import SIZES
from tests.ops.test_conv import problems as grid
from tests.ops.test_conv_transpose import SIZES as SMALL_SIZES
from tests.ops.test_conv_transpose import problems as transposed_grid
from tests.oracles import conv as oracle
from tests.oracles import conv_transpose as transposed

ORDERS: list[str | int] = ["ascending", "descending", 5, 6]
MEMORY = [scattered, np.ascontiguousarray, channels_last]


def draw(key: int, *shape: int, dtype: str = "float32") -> np.ndarray:
    return rng(121, key).standard_normal(shape).astype(dtype)


def passes(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, dy: np.ndarray, g: ConvGeometry) -> list[np.ndarray]:
    return [
        kernels.forward(EMULATED, x=x, w=w, b=b, geometry=g),
        kernels.input_grad(EMULATED, dy=dy, w=w, geometry=g),
        kernels.weight_grad(EMULATED, x=x, dy=dy, geometry=g),
        kernels.bias_grad(EMULATED, dy=dy),
    ]


def expected(x: np.ndarray, w: np.ndarray, b: Any, dy: np.ndarray, g: ConvGeometry, high: Any = None) -> list[Any]:
    x, w, dy = (array.astype(np.float64) for array in (x, w, dy))
    window = (g.stride, g.pad_low)
    y = oracle.forward(x, w, b, *window, g.pad_low if high is None else high, g.dilation, g.groups)
    return [y, *oracle.gradients(x, w, dy, *window, g.dilation, g.groups)]


def compare(found: list[np.ndarray], wanted: list[Any], g: ConvGeometry, name: str = "") -> None:
    positions, taps = g.y_shape[0] * prod(g.out_size), prod(g.kernel)
    terms = [g.w_shape[1] * taps + 1, g.w_shape[0] // g.groups * taps, positions, positions]
    for result, want, count in zip(found, wanted, terms, strict=True):
        near(result, want, count, name)


def check(g: ConvGeometry, dtype: str, key: int, memory: Any = scattered, high: Any = None, name: str = "") -> None:
    """All passes of one problem against the loops."""
    x, w, dy = (draw(key + i, *s, dtype=dtype) for i, s in enumerate((g.x_shape, g.w_shape, g.y_shape)))
    b = draw(key + 3, g.w_shape[0], dtype=dtype)
    arrays = memory(x), scattered(w), scattered(b), memory(dy)
    compare(passes(*arrays, g), expected(x, w, b, dy, g, high), g, name)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_every_stride_padding_dilation_and_groups(dims: int) -> None:
    for number, kernel, stride, padding, dilation, groups, _, high in grid(dims):
        g = conv_geometry((2, 4, *SIZES[dims]), (8, 4 // groups, *kernel), stride, padding, dilation, groups)
        with EMULATED.ordered(ORDERS[number % 4]):
            check(g, DTYPES[number % 3], number, MEMORY[number // 3 % 3], high, str((kernel, g)))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_transposed_with_every_output_padding(dims: int) -> None:
    for number, kernel, stride, pad, extra, groups, dilation in transposed_grid(dims):
        dtype = DTYPES[number % 3]
        x, w = draw(number, 2, 4, *SMALL_SIZES[dims], dtype=dtype), draw(number + 1, 4, 3, *kernel, dtype=dtype)
        b, memory = draw(number + 2, 3 * groups, dtype=dtype), MEMORY[number // 3 % 3]
        g = conv_transpose_geometry(x.shape, w.shape, stride, pad, extra, groups, dilation)
        many, name = [(v,) * dims for v in (stride, pad, extra, dilation)], str((kernel, g))
        y = transpose_ops.forward(EMULATED, x=memory(x), w=scattered(w), b=scattered(b), geometry=g)
        wide_x, wide_w = x.astype(np.float64), w.astype(np.float64)
        near(y, transposed.forward(wide_x, wide_w, b, *many, groups), 4 // groups * prod(kernel) + 1, name)
        dy = draw(number + 3, *y.shape, dtype=dtype)
        dx, dw, db = transposed.gradients(wide_x, wide_w, dy.astype(np.float64), many[0], many[1], many[3], groups)
        near(transpose_ops.input_grad(EMULATED, dy=memory(dy), w=w, geometry=g), dx, 3 * prod(kernel), name)
        near(transpose_ops.weight_grad(EMULATED, x=memory(x), dy=memory(dy), geometry=g), dw, x.size // 4, name)
        near(transpose_ops.bias_grad(EMULATED, dy=memory(dy)), db, dy.size // dy.shape[1], name)


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


# More rows, columns and steps than a tile, a slice and a table hold; few channels a group; a large stride.
LARGER = [
    conv_geometry((2, 17, 9, 8), (70, 17, 3, 3), 1, 1),
    conv_geometry((2, 40, 9, 8), (40, 1, 3, 2), (1, 2), 1, groups=40),
    conv_geometry((3, 5, 23, 21), (8, 5, 5, 3), (4, 6), 2, (3, 4)),
    conv_geometry((2, 33, 40), (34, 33, 5), 2, 2),
]


@pytest.mark.parametrize("memory", MEMORY[1:])
@pytest.mark.parametrize("g", LARGER, ids=range(len(LARGER)))
def test_the_order_of_threads_does_not_change_bits(monkeypatch: pytest.MonkeyPatch, g: Any, memory: Any) -> None:
    monkeypatch.setattr(kernels, "LEAST_SHARE", 100)
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


@pytest.mark.parametrize("w_shape", [(8, 64, 3, 3), (2, 64, 3, 3)])
def test_half_adds_up_in_float32(w_shape: tuple[int, ...]) -> None:
    random = rng(122)
    g = conv_geometry((2, 64, 8, 8), w_shape)
    x, w, dy = (random.uniform(0.5, 1, s).astype(np.float16) for s in (g.x_shape, g.w_shape, g.y_shape))
    for found, want in zip(passes(x, w, None, dy, g), expected(x, w, None, dy, g), strict=True):
        assert found.dtype == np.float16
        np.testing.assert_allclose(found, want, rtol=2**-11 + 1e-5)


def test_the_bias_of_a_transposed_convolution_is_rounded_once() -> None:
    """1 + 2**-11 + 2**-11 is 1 + 2**-10 in half; added one by one it would stay 1."""
    x, w, b = (np.array(v, np.float16) for v in ([[[1, 2**-11]]], [[[1]], [[1]]], [2**-11]))
    x = x.reshape(1, 2, 1)
    g = conv_transpose_geometry(x.shape, w.shape)
    for be in (CPU, EMULATED):
        assert transpose_ops.forward(be, x=x, w=w, b=b, geometry=g).item() == 1 + 2**-10


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
            conv_ops.forward(CPU, x=x, w=w, b=b, geometry=g),
            conv_ops.input_grad(CPU, dy=dy, w=w, geometry=g),
            conv_ops.weight_grad(CPU, x=x, dy=dy, geometry=g),
            conv_ops.bias_grad(CPU, dy=dy),
        ]
        compare(passes(x, w, b, dy, g), wanted, g)


def test_the_tile_and_the_parts_depend_on_shapes_alone() -> None:
    assert [kernels.tile_rows(rows) for rows in (4, 32, 33, 512)] == [16, 16, 64, 64]
    assert kernels.shares(0, 9) == (512, 1)
    assert kernels.shares(100_000, 1) == (512, 196)
    assert kernels.shares(1_000_000, 4) == (3907, 256)
    assert kernels.shares(1_000_000, 1000) == (8192, 123)


def test_integers_are_refused() -> None:
    x, w = np.ones((1, 1, 4), np.int64), np.ones((1, 1, 2), np.int64)
    with pytest.raises(DtypeError, match=r"\[conv_forward_direct\] 'x' must be one of float32, float64, float16"):
        kernels.forward(EMULATED, x=x, w=w, geometry=conv_geometry(x.shape, w.shape))


def _several_checks() -> None:
    for key, g in enumerate(LARGER):
        check(g, "float32", key, MEMORY[1 + key % 2])
    mixed = [
        conv_geometry((1, 8, 9, 5, 7), (10, 4, 3, 2, 2), (3, 1, 2), (2, 1, 1), (1, 3, 2), 2),
        conv_geometry((2, 6, 5, 6, 7), (9, 2, 2, 3, 2), (2, 1, 3), 1, (1, 2, 2), 3),
    ]
    for g in mixed:
        check(g, "float32", 9, channels_last)


MUTANTS = [
    ("include/tile.cuh", "step % table == 0", "step % table == table"),
    ("include/tile.cuh", "tile.column[n], &by = depth[k]", "tile.column[n], &by = depth[0]"),
    ("include/tile.cuh", "between(to.d + by.d, p.size_d) && ", ""),
    ("include/tile.cuh", "q >= 0 && q < size", "q >= 0 && q <= size"),
    ("include/tile.cuh", "m < p.rows && k < steps ?", "m < p.rows ?"),
    ("include/tile.cuh", "(p.row0 + m) * p.row_stride", "m * p.row_stride"),
    ("include/tile.cuh", "first_row() < p.rows &&", "first_row() + height < p.rows &&"),
    ("include/tile.cuh", "sums[i][j] += a[i] * b[j]", "sums[i][j] = a[i] * b[j]"),
    ("include/tile.cuh", "j / 4 * (across * 4) + j % 4", "j % 4"),
    ("include/tile.cuh", "    buffer ^= 1;\n", ""),
    ("include/tile.cuh", "buffer, staged);\n    __syncthreads();", "buffer, staged);"),
    ("include/tile.cuh", "block % down * tile_rows", "block / down * tile_rows"),
    ("include/tile.cuh", "(int)(size - start) : most", "(int)(size - start) - 1 : most"),
    ("include/conv.cuh", "last ? 1 : d * h * w", "d * h * w"),
    ("include/conv.cuh", "(line.kernel - first + period - 1) / period", "(line.kernel - first) / period"),
    ("include/conv.cuh", "line.dilation / (line.stride / period)", "line.dilation"),
    ("include/conv.cuh", "pad - first * line.dilation) / line.stride", "pad) / line.stride"),
    ("include/conv.cuh", "first, period, phase, line.stride}", "first, 1, phase, line.stride}"),
    ("include/conv.cuh", "entry.h = h.origin + u.h * h.step", "entry.h = h.origin + u.h"),
    ("include/conv.cuh", "t.h * window.h.dilation", "t.h"),
    ("conv.cu", "x + group * inputs * in.c", "x + group * outputs * in.c"),
    ("conv.cu", "images * positions, last != 0)", "images * positions, false)"),
    ("conv.cu", "thread / lanes, end < terms ? end : terms", "thread / lanes, end"),
    ("conv.cu", "    __syncthreads();\n    if (lane.member < half)", "    if (lane.member < half)"),
    ("conv.cu", "(rest * inputs + input) * taps + tap", "i"),
    ("conv.cu", "o.channel / outputs * inputs * in.c", "o.channel / inputs * inputs * in.c"),
    ("conv.cu", "start_h + th * dilation_h", "start_h + th"),
    ("conv.cu", "if (th < 0) continue;", ""),
    ("conv.cu", "q.channel % inputs * weight_c", "q.channel * weight_c"),
    ("conv.cu", "lane.channel / outputs * inputs + tap.plane", "lane.channel / outputs * inputs"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new"), MUTANTS)
def test_a_broken_kernel_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, old: str, new: str
) -> None:
    """With the large tile alone, so that each needs one compilation; shares are small, so that there are parts."""
    monkeypatch.setattr(launch, "FORCED", {"TILE_ROWS": 64})
    monkeypatch.setattr(kernels, "LEAST_SHARE", 100)
    break_sources(monkeypatch, tmp_path, file, old, new)
    with pytest.raises(NOTICED):
        _several_checks()
