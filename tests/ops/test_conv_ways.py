"""The ways in which the CPU computes convolutions, each forced where the plan would not take it."""

from __future__ import annotations

import tracemalloc
from itertools import product

import numpy as np
import pytest

import nnlab
from nnlab.errors import ArgumentError
from nnlab.geometry import conv_geometry
from nnlab.ops import conv as ops
from nnlab.ops._numpy import conv as body
from nnlab.ops._numpy import layout
from nnlab.ops._numpy.conv import rows, tiles, transforms, winograd
from nnlab.ops._numpy.conv import stride as stride_way
from nnlab.ops._numpy.conv.plan import Plan, choose
from tests.ops.common import CPU, close, rng, scattered
from tests.oracles import conv as oracle

HIGH, HIGHEST, STRIDE, ROWS = Plan("winograd", 6), Plan("winograd", 4), Plan("stride"), Plan("rows")
TILES, TILES_4 = Plan("tiles", 6), Plan("tiles", 4)
ORDERS = {"row-major": (0, 1, 2, 3), "batch last": (1, 2, 3, 0), "channels last": (0, 2, 3, 1)}


@pytest.fixture(autouse=True)
def _precision():
    yield
    nnlab.set_float32_conv_precision("high")


@pytest.fixture
def forced(monkeypatch):
    """Call it with a plan, which all convolutions follow from then on."""
    return lambda plan: monkeypatch.setattr(body, "choose", lambda *_: plan)


def case(x_shape, w_shape, stride=1, padding=0, dtype=np.float32, key=0):
    random = rng(20, key)
    x = scattered(random.standard_normal(x_shape).astype(dtype))
    w = scattered((random.standard_normal(w_shape) / np.sqrt(np.prod(w_shape[1:]))).astype(dtype))
    b = random.standard_normal(w_shape[0]).astype(dtype)
    geometry = conv_geometry(x_shape, w_shape, stride, padding)
    dy = scattered(random.standard_normal(geometry.y_shape).astype(dtype))
    return x, w, b, dy, geometry


def in_memory(array, order):
    axes = ORDERS[order]
    return np.ascontiguousarray(array.transpose(axes)).transpose(np.argsort(axes))


def passes(x, w, b, dy, geometry):
    return (
        ops.forward(CPU, x=x, w=w, b=b, geometry=geometry),
        ops.input_grad(CPU, dy=dy, w=w, geometry=geometry),
        ops.weight_grad(CPU, x=x, dy=dy, geometry=geometry),
    )


def by_loops(x, w, b, dy, g):
    """The three passes in float64, by the oracle."""
    x, w, b, dy = (a.astype(np.float64) for a in (x, w, b, dy))
    high = tuple(
        max((o - 1) * s + k - n - p, 0) for o, s, k, n, p in zip(g.out_size, g.stride, g.kernel, g.in_size, g.pad_low)
    )
    y = oracle.forward(x, w, b, g.stride, g.pad_low, high, g.dilation, 1)
    return y, *oracle.gradients(x, w, dy, g.stride, g.pad_low, g.dilation, 1)[:2]


def rms(array):
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))


@pytest.mark.parametrize(("n", "taps"), [(4, 2), (4, 3), (6, 2), (6, 3), (6, 4), (6, 5)])
def test_the_three_matrices_convolve(n, taps):
    f, random = transforms.factors(n, taps), rng(21, n)
    g, d = random.standard_normal(taps), random.standard_normal(n)
    close(f.a.T @ ((f.g @ g) * (f.b @ d)), np.correlate(d, g, "valid"), rtol=1e-13)
    for outputs in range(1, n + 2 - taps):  # fewer of them, from the same coefficients of the kernel
        few, d = transforms.factors(n, taps, outputs), random.standard_normal(outputs + taps - 1)
        coefficients = (f.g @ g)[: outputs + taps - 1]
        close(few.a.T @ (coefficients * (few.b @ d)), np.correlate(d, g, "valid"), rtol=1e-13)


@pytest.mark.parametrize("plan", [HIGH, HIGHEST, TILES, TILES_4])
@pytest.mark.parametrize(
    ("x_shape", "outputs", "kernel", "padding"),
    [
        ((2, 3, 9, 14), 5, (3, 3), 1),
        ((1, 20, 4, 5), 33, (3, 3), 0),
        ((3, 2, 1, 2), 1, (3, 3), 2),
        ((2, 4, 11, 8), 3, (2, 3), (0, 1)),
        ((1, 3, 70, 3), 2, (3, 3), "same"),
        ((1, 2, 3, 65), 4, (3, 3), (1, 0)),
    ],
)
def test_winograd_against_loops(forced, plan, x_shape, outputs, kernel, padding):
    arrays = case(x_shape, (outputs, x_shape[1], *kernel), 1, padding)
    forced(plan)
    for found, wanted in zip(passes(*arrays), by_loops(*arrays)):
        close(found, wanted, rtol=2e-5)  # a few times float32's rounding, over up to 300 terms
        assert found.dtype == np.float32
        assert found.flags.c_contiguous or (plan.way == "tiles" and found.transpose(1, 2, 3, 0).flags.c_contiguous)


@pytest.mark.parametrize("plan", [HIGH, TILES])
@pytest.mark.parametrize("kernel", [(5, 5), (3, 5), (4, 4)])
def test_winograd_of_larger_kernels(forced, plan, kernel):
    arrays = case((2, 3, 13, 10), (4, 3, *kernel), 1, 2)
    forced(plan)
    for found, wanted in zip(passes(*arrays), by_loops(*arrays)):
        close(found, wanted, rtol=2e-5)


@pytest.mark.parametrize("budget", [1, 60_000, 1 << 20])
@pytest.mark.parametrize("alone", [0, 1 << 20])
def test_blocks_of_tiles_change_nothing_but_rounding(forced, monkeypatch, budget, alone):
    arrays = case((3, 5, 21, 30), (7, 5, 3, 3), 1, 1)
    for name, value in (("BUDGET", budget), ("BUDGET_ALONE", budget), ("ALONE", alone), ("SLAB", 2), ("STRIP", 3)):
        monkeypatch.setattr(winograd, name, value)
    monkeypatch.setattr(winograd, "CHANNELS", 2)
    winograd.cut_blocks.cache_clear()
    forced(HIGH)
    try:
        for found, wanted in zip(passes(*arrays), by_loops(*arrays)):
            close(found, wanted, rtol=2e-5)
    finally:
        winograd.cut_blocks.cache_clear()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "limits",
    [
        {"BUDGET": 1, "IMAGES": 3, "WIDE": 1},
        {"IMAGES": 2, "WIDE": 1, "LANES": 3},
        {"BUDGET": 10_000, "WIDE": 1, "LANES": 2, "HALF": 2},
        {"BUDGET": 1, "WIDE": 20, "LANES": 64},
        {"SMALL": 35 * 20, "NARROW": 2, "TOGETHER": 2, "SUMS": 1},  # products of 20 columns at most
    ],
    ids=str,
)
@pytest.mark.parametrize("height", [2, 19, 20, 21, 22])
def test_blocks_of_tiles_batch_last(forced, monkeypatch, order, limits, height):
    x, w, b, dy, g = case((7, 5, height, 30), (7, 5, 3, 3), 1, 1)
    wanted = by_loops(x, w, b, dy, g)
    for name, value in limits.items():
        monkeypatch.setattr(tiles, name, value)
    forced(TILES)
    for found, right in zip(passes(in_memory(x, order), w, b, in_memory(dy, order), g), wanted):
        close(found, right, rtol=2e-5)


@pytest.mark.parametrize("limit", [1, 3000, 1 << 20])
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [
        ((23, 31), (11, 11), 4, 2),
        ((14, 14), (3, 3), 2, 1),
        ((15, 12), (7, 4), (2, 3), (3, 0)),
        ((9, 13), (2, 3), (2, 2), 0),
        ((8, 11), (3, 2), (3, 4), 1),
        ((5, 5), (5, 5), (2, 2), 4),
        ((17, 9), (1, 1), 2, 0),
    ],
)
def test_a_stride_over_sorted_planes_against_loops(forced, monkeypatch, limit, size, kernel, stride, padding):
    padding = min(padding, kernel[0] - 1) if isinstance(padding, int) else padding
    arrays = case((2, 3, *size), (4, 3, *kernel), stride, padding, np.float64)
    monkeypatch.setattr(stride_way, "BLOCK_BYTES", limit)
    forced(STRIDE)
    for found, wanted in zip(passes(*arrays), by_loops(*arrays)):
        close(found, wanted)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("limits", [(4 << 20, 7 << 20, 224), (1, 1, 1), (4 << 20, 2000, 30)])
@pytest.mark.parametrize(
    ("x_shape", "outputs", "kernel", "padding"),
    [
        ((7, 3, 9, 14), 5, (3, 3), 1),
        ((2, 1, 12, 11), 4, (5, 5), 2),
        ((5, 6, 4, 5), 2, (3, 2), 0),
        ((3, 2, 1, 2), 1, (3, 3), 2),
        ((4, 3, 6, 7), 9, (1, 4), (0, 3)),
        ((1, 4, 8, 3), 3, (2, 2), "same"),
        ((9, 2, 5, 5), 3, (5, 1), (4, 0)),
        ((3, 4, 3, 2), 2, (3, 3), 6),
    ],
)
def test_rows_of_all_images_against_loops(forced, monkeypatch, order, limits, x_shape, outputs, kernel, padding):
    for name, value in zip(("BLOCK_BYTES", "PRODUCTS", "COLUMNS"), limits):
        monkeypatch.setattr(rows, name, value)
    x, w, b, dy, g = case(x_shape, (outputs, x_shape[1], *kernel), 1, padding, np.float64)
    wanted = by_loops(x, w, b, dy, g)
    x = in_memory(x, order)
    forced(ROWS)
    found = passes(x, w, b, in_memory(dy, order), g)
    for one, other in zip(found, wanted):
        close(one, other)
    assert all(layout.is_batch_last(a) or a.flags.c_contiguous for a in found[:2])
    assert found[0].transpose(1, 2, 3, 0).flags.c_contiguous
    close(ops.forward(CPU, x=x, w=w, geometry=g), wanted[0] - b[:, None, None])


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("order", ORDERS)
def test_a_bias_gradient_in_any_order(order, dtype):
    dy = rng(23).standard_normal((40, 5, 60, 61)).astype(dtype)
    found = ops.bias_grad(
        CPU, dy=np.ascontiguousarray(dy.transpose(ORDERS[order])).transpose(np.argsort(ORDERS[order]))
    )
    assert found.dtype == dtype
    exact, size = dy.sum(axis=(0, 2, 3), dtype=np.float64), np.abs(dy).sum(dtype=np.float64) / 5
    # Sums of 146400 numbers in float32, which err by far less than the rounding of the largest part of a sum.
    np.testing.assert_allclose(found, exact, rtol=np.finfo(dtype).eps, atol=0.02 * np.finfo(np.float32).eps * size)


@pytest.mark.parametrize("plan", [HIGH, TILES])
def test_tiles_outside_of_the_input_read_zeros(forced, monkeypatch, plan):
    monkeypatch.setattr(winograd, "SLAB", 1)
    monkeypatch.setattr(winograd, "STRIP", 1)
    monkeypatch.setattr(tiles, "BUDGET", 1)
    monkeypatch.setattr(tiles, "WIDE", 1)
    winograd.cut_blocks.cache_clear()
    forced(plan)
    try:
        passes(*case((1, 3, 23, 24), (2, 3, 3, 3), 1, 9))  # leaves its numbers in the scratch memory
        arrays = case((1, 3, 4, 5), (2, 3, 3, 3), 1, 11, key=1)
        for found, wanted in zip(passes(*arrays), by_loops(*arrays)):
            close(found, wanted, rtol=2e-5)
    finally:
        winograd.cut_blocks.cache_clear()


def test_a_transposed_convolution_adds_its_bias(forced):
    x, w, b, dy, g = case((2, 3, 12, 12), (4, 3, 3, 3), 1, 1)
    bias = rng(22).standard_normal(3).astype(np.float32)
    wanted = by_loops(x, w, b, dy, g)[1] + bias[:, None, None]
    for plan in (HIGH, HIGHEST):
        forced(plan)
        close(ops.input_grad(CPU, dy=dy, w=w, b=bias, geometry=g), wanted, rtol=2e-5)


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "padding"),
    [
        ((4, 64, 27, 27), (96, 64, 5, 5), 2),  # AlexNet's 5 x 5
        ((2, 384, 13, 13), (256, 384, 3, 3), 1),  # AlexNet's widest
        ((1, 64, 112, 112), (64, 64, 3, 3), 1),  # VGG's first blocks
        ((1, 512, 14, 14), (512, 512, 3, 3), 1),  # VGG's last ones
    ],
)
def test_errors_stay_within_the_promise(forced, x_shape, w_shape, padding):
    """Root mean square error against float64: at most 12 times that of unfolded float32 by default, twice at most."""
    arrays = case(x_shape, w_shape, 1, padding)
    g = arrays[-1]
    forced(Plan())
    plain = passes(*arrays)
    exact = passes(*(a.astype(np.float64) for a in arrays[:-1]), g)
    for plan, times in ((HIGH, 12), (HIGHEST, 2), (TILES, 12)):
        if max(g.kernel) < plan.points:
            forced(plan)
            for found, direct, right in zip(passes(*arrays), plain, exact):
                assert rms(found - right) <= times * rms(direct - right)
                assert rms(found - right) < 3e-6 * rms(right)


def test_the_setting_reaches_the_plan():
    arrays = case((2, 128, 28, 28), (128, 128, 3, 3), 1, 1)
    assert nnlab.get_float32_conv_precision() == "high"
    usual = [a.tobytes() for a in passes(*arrays)]
    nnlab.set_float32_conv_precision("highest")
    assert nnlab.get_float32_conv_precision() == "highest"
    assert all(a.tobytes() != b for a, b in zip(passes(*arrays), usual))
    nnlab.set_float32_conv_precision("high")
    assert [a.tobytes() for a in passes(*arrays)] == usual
    nnlab.set_float32_conv_precision("medium")
    assert [a.tobytes() for a in passes(*arrays)] == usual
    with pytest.raises(ArgumentError, match="'precision' must be 'highest', 'high' or 'medium', got 'low'"):
        nnlab.set_float32_conv_precision("low")


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "options", "high", "highest"),
    [
        ((16, 3, 224, 224), (64, 3, 11, 11), (4, 2), STRIDE, STRIDE),
        ((16, 64, 27, 27), (192, 64, 5, 5), (1, 2), HIGH, Plan()),
        ((12, 192, 13, 13), (384, 192, 3, 3), (1, 1), HIGH, HIGHEST),
        ((16, 192, 13, 13), (384, 192, 3, 3), (1, 1), TILES, HIGHEST),
        ((16, 64, 20, 20), (64, 64, 3, 3), (1, 1), HIGH, Plan()),
        ((64, 64, 56, 56), (64, 64, 3, 3), (1, 1), TILES, Plan()),
        ((4, 3, 224, 224), (64, 3, 3, 3), (1, 1), Plan(), Plan()),
        ((4, 64, 224, 224), (64, 64, 3, 3), (1, 1), HIGH, Plan()),
        ((4, 512, 14, 14), (512, 512, 3, 3), (1, 1), HIGH, HIGHEST),
        ((16, 1024, 14, 14), (1024, 1024, 3, 3), (1, 1), Plan(), HIGHEST),
        ((4, 256, 28, 28), (256, 256, 1, 1), (1, 0), Plan(), Plan()),
        ((4, 256, 28, 28), (256, 256, 1, 1), (2, 0), Plan(), Plan()),
        ((4, 256, 28, 28), (256, 256, 3, 3), (1, 1, 2), Plan(), Plan()),
        ((4, 256, 28, 28), (256, 128, 3, 3), (1, 1, 1, 2), Plan(), Plan()),
        ((4, 3, 224, 224), (64, 3, 7, 7), (2, 3), STRIDE, STRIDE),
        ((4, 3, 224, 224), (64, 3, 2, 2), (2, 0), Plan(), Plan()),
        ((4, 1, 28, 28), (32, 1, 5, 5), (2, 2), Plan(), Plan()),
        ((4, 64, 56, 56), (128, 64, 3, 3), (2, 1), Plan(), Plan()),
        ((64, 128, 7, 7), (128, 128, 3, 3), (1, 1), TILES, ROWS),
        ((64, 32, 14, 14), (64, 32, 3, 3), (1, 1), TILES, ROWS),
        ((64, 256, 4, 4), (256, 256, 3, 3), (1, 1), TILES, HIGHEST),
        ((64, 512, 4, 4), (512, 512, 3, 3), (1, 1), HIGH, HIGHEST),
        ((64, 1, 28, 28), (32, 1, 3, 3), (1, 1), ROWS, ROWS),
        ((64, 6, 14, 14), (16, 6, 5, 5), (1, 0), ROWS, ROWS),
        ((64, 6, 14, 14), (16, 6, 1, 1), (1, 0), Plan(), Plan()),
        ((15, 6, 14, 14), (16, 6, 5, 5), (1, 0), Plan(), Plan()),
        ((27, 6, 14, 14), (16, 6, 5, 5), (1, 2), Plan(), Plan()),
        ((65, 3, 32, 32), (16, 3, 3, 3), (1, 1), Plan(), Plan()),
        ((32, 24, 32, 32), (24, 24, 5, 5), (1, 2), TILES, Plan()),
        ((31, 24, 32, 32), (24, 24, 5, 5), (1, 2), Plan(), Plan()),
        ((4, 256, 28), (256, 256, 3), (1, 1), Plan(), Plan()),
        ((64, 1, 28, 28), (6, 1, 5, 5), (1, 2), ROWS, ROWS),
        ((0, 256, 28, 28), (256, 256, 3, 3), (1, 1), Plan(), Plan()),
    ],
)
def test_plans(x_shape, w_shape, options, high, highest):
    g = conv_geometry(x_shape, w_shape, *options)
    assert choose(g, np.dtype(np.float32), "high") == high
    assert choose(g, np.dtype(np.float32), "highest") == highest
    for precision in ("high", "highest"):
        assert choose(g, np.dtype(np.float64), precision).way != "winograd"


@pytest.mark.parametrize("alone", [0, 1 << 30])
@pytest.mark.parametrize("plan", [HIGH, HIGHEST, STRIDE, ROWS, TILES])
def test_threads_change_no_bits(forced, monkeypatch, plan, alone):
    options = (2, 1) if plan == STRIDE else (1, 1)
    arrays = case((5, 24, 40, 50), (40, 24, 3, 3), *options)
    monkeypatch.setattr(winograd, "ALONE", alone)
    forced(plan)
    found = []
    for count in (1, 2, 5):
        monkeypatch.setattr("nnlab.backend.threads._chosen", count)
        found.append([a.tobytes() for a in passes(*arrays)])
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("plan", [HIGH, STRIDE, ROWS, TILES])
def test_what_is_not_finite_stays_where_it_belongs(forced, plan, value):
    stride = 2 if plan == STRIDE else 1
    x, w, b, dy, g = case((2, 3, 20, 20), (4, 3, 3, 3), stride, 1)
    x, dy = x.copy(), dy.copy()
    x[1, 2, 9, 13] = value
    dy[0, 1, 3, 2] = value
    forced(plan)
    with CPU.quiet():  # as the tape calls it
        pairs = list(zip(passes(x, w, b, dy, g), by_loops(x, w, b, dy, g)))
    for found, wanted in pairs:
        finite = np.isfinite(wanted)
        assert 0 < finite.sum() < finite.size
        np.testing.assert_array_equal(np.isfinite(found), finite)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
        close(found[finite], wanted[finite], rtol=2e-5)


@pytest.mark.parametrize("plan", [HIGH, TILES])
def test_large_numbers_do_not_overflow_on_the_way(forced, plan):
    """Sums that stay below the largest float32 although a transform's sums do not."""
    x = np.zeros((1, 2, 12, 12), np.float32)
    x[0, :, ::2] = 2e38
    w = np.zeros((3, 2, 3, 3), np.float32)
    w[:, 0, 1, 1] = 1
    g = conv_geometry(x.shape, w.shape, 1, 1)
    forced(plan)
    np.testing.assert_array_equal(ops.forward(CPU, x=x, w=w, geometry=g), np.broadcast_to(x[:, :1], g.y_shape))


@pytest.mark.parametrize("plan", [HIGH, TILES])
@pytest.mark.parametrize("dtype", [np.float16, "bfloat16"])
def test_half_precision_is_rounded_once(forced, plan, dtype):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
        dtype = nnlab.bfloat16
    arrays = [a.astype(dtype) if isinstance(a, np.ndarray) else a for a in case((1, 8, 12, 12), (8, 8, 3, 3), 1, 1)]
    eps = 2**-11 if dtype == np.float16 else 2**-8
    forced(plan)
    for found, wanted in zip(passes(*arrays), by_loops(*arrays)):
        assert found.dtype == dtype
        np.testing.assert_allclose(found.astype(np.float64), wanted, rtol=1.01 * eps, atol=2e-5)


@pytest.mark.parametrize(("plan", "stride"), [(HIGH, 1), (STRIDE, 2), (Plan(), 1), (ROWS, 1), (TILES, 1)])
def test_a_step_allocates_its_results_alone(forced, monkeypatch, plan, stride):
    # On one thread: a helper that comes to its first task late would allocate its scratch memory late.
    monkeypatch.setattr("nnlab.backend.threads._chosen", 1)
    x, w, b, dy, g = case((4, 32, 60, 60), (32, 32, 3, 3), stride, 1)
    x, w, dy = (np.ascontiguousarray(a) for a in (x, w, dy))
    forced(plan)
    passes(x, w, b, dy, g)
    results = sum(a.nbytes for a in passes(x, w, b, dy, g))
    tracemalloc.start()
    try:
        kept = passes(x, w, b, dy, g)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(kept) == 3
    # Partial sums of the weight gradient come on top: 8 times 36 KB.
    assert peak < results + 600_000


def test_every_part_of_an_axis_of_taps():
    for kernel, stride in product(range(1, 12), range(1, 6)):
        taps = [
            (first + q) * stride + r
            for first, many, rest in stride_way._parts(kernel, stride)
            for q, r in product(range(many), range(rest))
        ]
        assert taps == list(range(kernel))
