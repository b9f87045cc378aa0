"""Image filters against SciPy, loops, correlation coefficients and derivatives of polynomials."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.classic import filters
from nnlab.classic.receptive_field import receptive_field
from nnlab.errors import ArgumentError, ShapeError
from tests import emulator


def random(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("mode", [None, "constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("size", [(3, 5), (1, 7), (5, 1)])
def test_convolve_against_scipy(mode: str | None, size: tuple[int, int]) -> None:
    signal = pytest.importorskip("scipy.signal")
    ndimage = pytest.importorskip("scipy.ndimage")
    x, kernel = random(2, 3, 9, 11), random(*size, seed=2)
    y = filters.convolve(nnlab.tensor(x), kernel, mode).numpy()
    borders = {"constant": "constant", "reflect": "mirror", "replicate": "nearest", "circular": "wrap"}
    for plane, found in zip(x.reshape(6, 9, 11), y.reshape(6, *y.shape[-2:]), strict=True):
        wanted = (
            signal.convolve2d(plane, kernel, "valid")
            if mode is None
            else ndimage.convolve(plane, kernel, mode=borders[mode])
        )
        np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.parametrize("size", [(3, 3), (5, 7), (9, 1)])
@pytest.mark.parametrize("shape", [(9, 12), (2, 11, 9)])
def test_the_convolution_theorem(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    x, kernel = nnlab.tensor(random(*shape)), random(*size, seed=2)
    direct = filters.convolve(x, kernel, "circular")
    np.testing.assert_allclose(filters.convolve_fft(x, kernel).numpy(), direct.numpy(), atol=1e-12)
    single = filters.convolve_fft(x.float(), kernel)
    assert single.dtype == nnlab.float32
    np.testing.assert_allclose(single.numpy(), direct.numpy(), atol=1e-5)


def test_sobel_on_ramps() -> None:
    """Kernels of the notes; convolution flips them, so that they give derivatives with their sign."""
    v, u = np.mgrid[:7, :7].astype(float)
    slopes = {"right": (8, 0, -8), "down": (0, 8, 8), "down left": (-6, 6, 12)}  # of the ramps u, v, v - u
    for name, kernel in filters.SOBEL.items():
        for ramp, slope in zip((u, v, v - u), slopes[name], strict=True):
            y = filters.convolve(nnlab.tensor(ramp), kernel, None).numpy()
            np.testing.assert_allclose(y, slope, atol=1e-12, err_msg=name)


def test_gaussian() -> None:
    kernel = filters.gaussian(7, 1.2)
    wanted = np.array([[np.exp(-(u * u + v * v) / (2 * 1.44)) for u in range(-3, 4)] for v in range(-3, 4)])
    np.testing.assert_allclose(kernel, wanted / wanted.sum(), rtol=1e-14)
    np.testing.assert_allclose(filters.gaussian(2, 0.5), np.full((2, 2), 0.25))


def test_laplacian_of_gaussian_is_the_second_derivative() -> None:
    """Of a u^2 + b u v + c v^2 + d u + e: 2 a + 2 c everywhere."""
    v, u = np.mgrid[:40, :40] / 4.0
    kernel = filters.laplacian_of_gaussian(17, 1.8)
    assert abs(kernel.sum()) < 1e-14 and kernel[8, 8] < 0 < kernel[8, 12]
    picture = 0.7 * u * u - 3 * u * v + 1.1 * v * v + 5 * u - 2
    y = filters.convolve(nnlab.tensor(picture), kernel, None).numpy()
    # 17 pixels cut the Gaussian of 1.8 at 4.7 deviations.
    np.testing.assert_allclose(y, (2 * 0.7 + 2 * 1.1) / 16, rtol=2e-3)


def test_one_kernel_for_two_and_two_for_one() -> None:
    x = nnlab.tensor(random(12, 13))
    g, h = random(3, 3, seed=3), random(5, 3, seed=4)
    twice = filters.convolve(filters.convolve(x, g, None), h, None)
    whole = filters.merge(g, h)
    assert whole.shape == (7, 5)
    np.testing.assert_allclose(filters.convolve(x, whole, None).numpy(), twice.numpy(), atol=1e-12)
    np.testing.assert_allclose(filters.merge(h, g), whole, atol=1e-13)


def test_the_decomposition_of_the_notes_is_approximate() -> None:
    """Their 7 x 7 Laplacian of Gaussian, and the 3 x 3 and 5 x 5 kernels that stand for it: 34 of 49 products."""
    quarter = np.array(
        [[0.02, 0.09, 0.2, 0.3], [0.09, 0.13, 0.11, 0.4], [0.2, 0.11, -0.3, -0.7], [0.3, 0.4, -0.7, -1.3]]
    )
    half = np.concatenate([quarter, quarter[:, 2::-1]], 1)
    large = np.concatenate([half, half[2::-1]])
    laplacian = np.array([[0.2, 0.5, 0.2], [0.5, -3.1, 0.5], [0.2, 0.5, 0.2]])
    rows = [[0, 0.2, 0.3, 0.2, 0], [0.2, 0.6, 0.8, 0.6, 0.2], [0.3, 0.8, 1.2, 0.8, 0.3]]
    small = np.array([*rows, rows[1], rows[0]])
    product = filters.merge(laplacian, small)
    assert np.corrcoef(product.ravel(), large.ravel())[0, 1] == pytest.approx(0.909, abs=5e-4)
    assert product[3, 3] == pytest.approx(-1.64) and product[0].tolist() == pytest.approx(
        [0, 0.04, 0.16, 0.23, 0.16, 0.04, 0]
    )
    # Rank 4 at most, by symmetry: four pairs of a column and a row are exact, with 56 products; two lose 10 %.
    for rank, left in ((4, 0.0), (2, 0.1)):
        parts = sum(column @ row for column, row in filters.separate(large, rank))
        assert np.linalg.norm(parts - large) / np.linalg.norm(large) == pytest.approx(left, abs=5e-3)


def test_separable_kernels() -> None:
    ((column, row),) = filters.separate(filters.gaussian(9, 1.5))
    np.testing.assert_allclose(column @ row, filters.gaussian(9, 1.5), atol=1e-16)
    assert column.shape == (9, 1) and row.shape == (1, 9)
    for name in ("right", "down"):
        ((column, row),) = filters.separate(filters.SOBEL[name])
        np.testing.assert_allclose(column @ row, filters.SOBEL[name], atol=1e-15)
    kernel, x = random(5, 7), nnlab.tensor(random(20, 20, seed=5))
    whole = sum(filters.convolve(filters.convolve(x, c), r) for c, r in filters.separate(kernel, 5))
    np.testing.assert_allclose(whole.numpy(), filters.convolve(x, kernel).numpy(), atol=1e-12)
    # What k pairs leave is what the singular values say.
    left = kernel - sum(c @ r for c, r in filters.separate(kernel, 2))
    assert (left**2).sum() == pytest.approx((np.linalg.svd(kernel)[1][2:] ** 2).sum())


def test_templates_against_correlation_coefficients() -> None:
    image, template = random(14, 17), random(4, 6, seed=2)
    found = filters.match_template(nnlab.tensor(image), nnlab.tensor(template)).numpy()
    assert found.shape == (11, 12)
    for i in range(11):
        for j in range(12):
            part = image[i : i + 4, j : j + 6]
            assert found[i, j] == pytest.approx(np.corrcoef(part.ravel(), template.ravel())[0, 1], abs=1e-12)


def test_a_template_is_found_whatever_its_brightness() -> None:
    image = np.zeros((20, 24), np.float32)
    image[5:12, 9:18] = np.abs(random(7, 9)) + 100
    piece = nnlab.tensor(3 * image[6:10, 10:15] - 40)
    found = filters.match_template(nnlab.tensor(image), piece)
    assert found.dtype == nnlab.float32
    assert np.unravel_index(found.numpy().argmax(), found.shape) == (6, 10)
    assert found.max().item() == pytest.approx(1, abs=1e-6)
    assert found[0, 0].item() == 0 and filters.match_template(nnlab.ones(5, 5) * 0.3, piece).abs().max().item() == 0
    assert filters.match_template(nnlab.tensor(image), -piece)[6, 10].item() == pytest.approx(-1, abs=1e-6)


@pytest.mark.parametrize(
    "layers",
    [
        [(3, 1, 1)],
        [(3, 1, 1), (3, 1, 1)],
        [(5, 1, 1)],
        [(3, 1, 2)],
        [(3, 1, 1), (3, 1, 2), (3, 1, 4)],
        [(3, 2, 1), (2, 2, 1), (3, 1, 3)],
        [(1, 3, 1), (4, 1, 1)],
    ],
)
def test_receptive_field_is_where_the_gradient_goes(layers: list[tuple[int, int, int]]) -> None:
    size, step = receptive_field(layers)
    x = nnlab.zeros(1, 1, 60, requires_grad=True)
    y: Any = x
    for kernel, stride, dilation in layers:
        layer = nn.Conv1d(1, 1, kernel, stride, dilation=dilation, bias=False)
        nn.init.ones_(layer.weight)
        y = layer(y)
    for place in (0, 1):
        (gradient,) = nnlab.grad(y[0, 0, place], x, retain_graph=True)
        seen = np.flatnonzero(gradient.numpy())
        assert (seen[0], seen[-1]) == (place * step, place * step + size - 1)


def test_two_small_kernels_see_what_a_large_one_sees() -> None:
    assert receptive_field([(3, 1, 1)] * 2) == receptive_field([(5, 1, 1)]) == (5, 1)
    assert receptive_field([(3, 1, 1)] * 3) == receptive_field([(7, 1, 1)]) == (7, 1)
    for k in (3, 5):
        for rate in (1, 2, 4):  # the notes: k + (k - 1)(r - 1)
            assert receptive_field([(k, 1, rate)]) == (k + (k - 1) * (rate - 1), 1)


def test_on_another_device() -> None:
    emulator.backend()
    x, piece = nnlab.tensor(random(8, 9)).float(), nnlab.tensor(random(3, 2, seed=4)).float()
    for call in (
        lambda t: filters.convolve(t, filters.SOBEL["right"]),
        lambda t: filters.convolve_fft(t, filters.SOBEL["right"]),
        lambda t: filters.match_template(t, piece.to(t.device)),
    ):
        there = call(x.to("emulated"))
        assert str(there.device) == "emulated"
        np.testing.assert_allclose(there.cpu().numpy(), call(x).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: filters.convolve(x, np.ones(3)), ShapeError, r"\[convolve\] 'kernel' must have shape \(h, w\)"),
        (
            lambda x: filters.convolve(x, np.ones((2, 3))),
            ArgumentError,
            r"\[convolve\] 'kernel' must have odd sizes where a border is added, got \(2, 3\)",
        ),
        (
            lambda x: filters.convolve_fft(x, np.ones((9, 1))),
            ShapeError,
            r"\[convolve_fft\] 'kernel' must fit into the image \(6, 6\), got \(9, 1\)",
        ),
        (lambda x: filters.gaussian(0, 1.0), ArgumentError, r"\[gaussian\] 'size' must be positive, got 0"),
        (lambda x: filters.laplacian_of_gaussian(3, 0.0), ArgumentError, r"'sigma' must be positive, got 0.0"),
        (lambda x: filters.separate(np.ones((2, 3)), 3), ArgumentError, r"'rank' must be in 1..2, got 3"),
        (lambda x: filters.match_template(x, x[0]), ShapeError, r"'template' must be a plane that fits into the image"),
        (lambda x: filters.match_template(x, x * 0), ArgumentError, r"'template' must not be of one brightness"),
        (lambda x: filters.match_template(x, x * 0 + 0.3), ArgumentError, r"'template' must not be of one brightness"),
        (
            lambda x: receptive_field([(3, 0, 1)]),
            ArgumentError,
            r"\[receptive_field\] 'stride' must be positive, got 0",
        ),
    ],
)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(nnlab.tensor(random(6, 6)))
