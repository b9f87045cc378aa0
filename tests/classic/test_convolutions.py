"""Convolutions of every kind with the numbers of the course (in one dimension: tests/nn/test_shape_layers.py)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.nn import functional as F


def plane(rows: Any) -> nnlab.Tensor:
    return nnlab.tensor(rows, dtype=nnlab.float64).reshape(1, 1, len(rows), -1)


def test_convolution_flips_the_kernel_and_correlation_does_not() -> None:
    f, g = plane([[1, 3, 1], [0, -1, 1], [2, 2, -1]]), plane([[1, 2], [0, -1]])
    assert F.conv2d(f, g.flip((2, 3)))[0, 0].tolist() == [[-2, -4], [6, 4]]
    correlation = [[1 * 1 + 2 * 3 + 0 * 0 - 1 * -1, 3 + 2 * 1 + 0 - 1], [0 - 2 + 0 - 2, -1 + 2 + 0 + 1]]
    assert F.conv2d(f, g)[0, 0].tolist() == correlation
    # A kernel that equals its mirror image gives the same both ways.
    same = plane([[1, 2, 1], [2, -3, 2], [1, 2, 1]])
    assert F.conv2d(f, same).tolist() == F.conv2d(f, same.flip((2, 3))).tolist()


def test_the_sliding_examples() -> None:
    image = plane([[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]])
    kernel = plane([[0, 1, 2], [2, 2, 0], [0, 1, 2]])
    assert F.conv2d(image, kernel)[0, 0].tolist() == [[12, 12, 17], [10, 17, 19], [9, 6, 14]]
    assert F.conv2d(image, kernel, stride=2)[0, 0].tolist() == [[12, 17], [9, 14]]
    assert F.conv2d(image, kernel, padding=1)[0, 0, 1:4, 1:4].tolist() == [[12, 12, 17], [10, 17, 19], [9, 6, 14]]
    bits = plane([[1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0]])
    cross = plane([[1, 0, 1], [0, 1, 0], [1, 0, 1]])
    assert F.conv2d(bits, cross)[0, 0].tolist() == [[4, 3, 4], [2, 4, 3], [2, 3, 4]]


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "out"),
    [(5, 3, 1, 0, 3), (5, 3, 1, 1, 5), (5, 3, 2, 1, 3), (32, 5, 1, 2, 32), (10, 5, 1, 2, 10), (32, 5, 1, 0, 28)],
)
def test_sizes(size: int, kernel: int, stride: int, padding: int, out: int) -> None:
    """(n + 2 p - k) / s + 1."""
    layer = nn.Conv2d(3, 6, kernel, stride, padding)
    assert layer(nnlab.zeros(1, 3, size, size)).shape == (1, 6, out, out)


@pytest.mark.parametrize(
    ("channels", "filters", "kernel", "count"),
    [(3, 8, 5, 608), (8, 16, 5, 3216), (16, 32, 1, 544), (1, 64, 9, 5248), (64, 256, 9, 1_327_360)],
)
def test_numbers_of_parameters(channels: int, filters: int, kernel: int, count: int) -> None:
    assert sum(p.numel() for p in nn.Conv2d(channels, filters, kernel).parameters()) == count


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_borders_that_differ_on_each_side(mode: str) -> None:
    ours = {"edge": "replicate", "wrap": "circular"}.get(mode, mode)
    random = np.random.default_rng(0)
    x, w = random.standard_normal((5, 6)), random.standard_normal((4, 2))
    padded = np.pad(x, ((1, 2), (0, 1)), mode=mode)
    wanted = [[(padded[i : i + 4, j : j + 2] * w).sum() for j in range(6)] for i in range(5)]
    y = F.conv2d(F.pad(plane(x), (0, 1, 1, 2), mode=ours), plane(w))[0, 0]
    np.testing.assert_allclose(y.numpy(), wanted, atol=1e-14)


@pytest.mark.parametrize("rate", [2, 3])
def test_atrous_is_a_kernel_with_holes(rate: int) -> None:
    x, w = nnlab.randn(2, 3, 12, 12, dtype=nnlab.float64), nnlab.randn(4, 3, 3, 3, dtype=nnlab.float64)
    side = 3 + 2 * (rate - 1)
    blown = np.zeros((4, 3, side, side))
    blown[:, :, ::rate, ::rate] = w.numpy()
    full = F.conv2d(x, nnlab.tensor(blown)).numpy()
    np.testing.assert_allclose(F.conv2d(x, w, dilation=rate).numpy(), full, atol=1e-13)


def test_groups_do_not_see_each_other() -> None:
    x, w = nnlab.randn(2, 6, 7, 7, dtype=nnlab.float64), nnlab.randn(4, 3, 3, 3, dtype=nnlab.float64)
    apart = [F.conv2d(x[:, 3 * k : 3 * k + 3], w[2 * k : 2 * k + 2]) for k in (0, 1)]
    np.testing.assert_allclose(F.conv2d(x, w, groups=2).numpy(), nnlab.cat(apart, 1).numpy(), atol=1e-13)


def test_depthwise_separable_convolution_is_a_dense_one_of_products() -> None:
    """weight[o, c, i, j] = point[o, c] depth[c, i, j]: k^2 C + C O numbers instead of k^2 C O."""
    x = nnlab.randn(2, 5, 8, 8, dtype=nnlab.float64)
    net = nn.Sequential(nn.Conv2d(5, 5, 3, groups=5, bias=False), nn.Conv2d(5, 7, 1, bias=False)).double()
    depth, point = (p.detach().numpy() for p in net.parameters())
    dense = point[:, :, 0, 0][:, :, None, None] * depth[None, :, 0]
    np.testing.assert_allclose(net(x).detach().numpy(), F.conv2d(x, nnlab.tensor(dense)).numpy(), atol=1e-13)
    assert sum(p.numel() for p in net.parameters()) == 9 * 5 + 5 * 7 and dense.size == 9 * 5 * 7


def test_one_by_one_convolution_is_a_matrix_at_each_pixel() -> None:
    x, w = nnlab.randn(2, 5, 4, 6, dtype=nnlab.float64), nnlab.randn(3, 5, 1, 1, dtype=nnlab.float64)
    wanted = np.einsum("oc,nchw->nohw", w.numpy()[:, :, 0, 0], x.numpy())
    np.testing.assert_allclose(F.conv2d(x, w).numpy(), wanted, atol=1e-13)


def test_three_dimensions() -> None:
    signal = pytest.importorskip("scipy.signal")
    random = np.random.default_rng(0)
    x, w = random.standard_normal((2, 2, 5, 6, 7)), random.standard_normal((3, 2, 2, 3, 3))
    wanted = [[sum(signal.correlate(a, b, "valid") for a, b in zip(s, f, strict=True)) for f in w] for s in x]
    np.testing.assert_allclose(F.conv3d(nnlab.tensor(x), nnlab.tensor(w)).numpy(), wanted, atol=1e-13)
    # A difference between pictures that follow each other finds what moves: 1 where it comes, -1 where it was.
    film = nnlab.zeros(1, 1, 3, 4, 4)
    for t in range(3):
        film[0, 0, t, 1, t] = 1
    change = F.conv3d(film, nnlab.tensor([-1.0, 1.0]).reshape(1, 1, 2, 1, 1))[0, 0]
    assert change[:, 1].tolist() == [[-1, 1, 0, 0], [0, -1, 1, 0]]
    assert change.abs().sum().item() == 4
