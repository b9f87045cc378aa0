"""Shape distributions against distributions known in closed form; dominant colours against counts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nnlab.classic.descriptors import dominant_colours, shape_distribution, surface_points
from nnlab.errors import ArgumentError, ShapeError

SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]])
NEEDLE = SQUARE[0] * (1, 1e-6, 1), SQUARE[1]


def sphere(rings: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """The unit sphere in rings of 2 * rings corners."""
    polar, around = np.linspace(0, np.pi, rings + 1), np.arange(2 * rings) * np.pi / rings
    p, a = np.meshgrid(polar, around, indexing="ij")
    vertices = np.stack([np.sin(p) * np.cos(a), np.sin(p) * np.sin(a), np.cos(p)], -1).reshape(-1, 3)
    n, triangles = 2 * rings, []
    for i, j in itertools.product(range(rings), range(n)):
        a0, a1, b0, b1 = i * n + j, i * n + (j + 1) % n, (i + 1) * n + j, (i + 1) * n + (j + 1) % n
        triangles += [[a0, b0, b1], [a0, b1, a1]]
    return vertices, np.array(triangles)


def test_points_lie_evenly():
    """On a triangle beside one of three times its area: counts, means and covariance of the uniform distribution."""
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 0, 2], [8, 0, 2], [5, 1, 2]])
    points = surface_points(vertices, [[0, 1, 2], [3, 4, 5]], 40000, seed=3)
    first = points[points[:, 2] < 1]
    assert len(first) / 40000 == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / 40000))
    assert (first >= 0).all() and (first[:, :2].sum(1) <= 1).all()
    # Triangle (0,0), (1,0), (0,1): means 1/3, variances 1/18, covariance -1/36.
    np.testing.assert_allclose(first[:, :2].mean(0), 1 / 3, atol=4 / np.sqrt(18 * len(first)))
    np.testing.assert_allclose(np.cov(first[:, :2].T), [[1 / 18, -1 / 36], [-1 / 36, 1 / 18]], atol=2e-3)
    np.testing.assert_allclose(points[points[:, 2] >= 1][:, 2], 2, rtol=1e-15)


def test_sphere():
    """Two random points of a unit sphere are d apart with density d / 2, 0 <= d <= 2; the mean is 4/3."""
    found = shape_distribution(*sphere(), pairs=50000, bins=24)
    edges = np.linspace(0, 3, 25) * 4 / 3
    expected = np.diff(np.minimum(edges, 2) ** 2 / 4)
    np.testing.assert_allclose(found, expected, atol=4 * np.sqrt(0.12 * 0.88 / 50000))
    # The largest distance is 1.5 means, where bin 12 begins; the mean of the drawn ones may be a little smaller.
    assert found[13:].sum() == 0 and found.sum() == pytest.approx(1)


def test_segment():
    """A needle: distances of two uniform numbers have density 2 (1 - d), with mean 1/3."""
    edges = np.linspace(0, 1, 13)
    expected = np.diff(2 * edges - edges**2)
    found = shape_distribution(*NEEDLE, pairs=50000, bins=12)
    np.testing.assert_allclose(found, expected, atol=4 * np.sqrt(0.16 * 0.84 / 50000))


def test_size_place_and_orientation_do_not_matter():
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    vertices, triangles = sphere(6)
    vertices = vertices * (1, 2, 3)
    a = shape_distribution(vertices, triangles, seed=4)
    b = shape_distribution(0.01 * vertices @ turn + 7, triangles, seed=4)
    np.testing.assert_allclose(a, b, atol=3 / 20000)  # a few of 20000 distances at the edge of a bin
    assert abs(a - shape_distribution(vertices, triangles, seed=5)).max() > 0
    assert abs(a - shape_distribution(*NEEDLE)).max() > 0.02


def test_last_bin_takes_what_is_above():
    """Two specks and a far third: its distances are more than 3 means away."""
    speck = SQUARE[0] * 0.01
    vertices = np.concatenate([speck, speck * (1, 5, 1), speck * 0.4 + (30, 0, 0)])
    triangles = np.concatenate([SQUARE[1], SQUARE[1] + 4, SQUARE[1] + 8])
    found = shape_distribution(vertices, triangles, bins=6)
    assert found.sum() == pytest.approx(1) and found[-1] > 0.02


def test_dominant_colours():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (17, 23, 3), dtype=np.uint8)
    image[:9] //= 3
    bins: dict[tuple, list] = {}
    for pixel in image.reshape(-1, 3).tolist():
        bins.setdefault(tuple(v * 4 // 256 for v in pixel), []).append(pixel)
    ranked = sorted(bins, key=lambda key: (-len(bins[key]), key))
    expected = [np.mean(bins[key], 0) / 255 for key in ranked[:5]]
    np.testing.assert_allclose(dominant_colours(image, 5), expected, rtol=1e-12)


def test_dominant_colours_of_plain_images():
    image = np.zeros((4, 5, 3), np.uint8)
    image[:, :, 2] = 255
    assert dominant_colours(image).tolist() == [[0, 0, 1], [0, 0, 1]]
    image[0, :2] = (255, 102, 0)
    assert dominant_colours(image, 3).tolist() == [[0, 0, 1], [1, 0.4, 0], [1, 0.4, 0]]
    image[:2] = (0, 0, 255)
    image[2:] = (0, 255, 0)  # as many: blue's ranges come first
    assert dominant_colours(image).tolist() == [[0, 0, 1], [0, 1, 0]]
    assert dominant_colours(image, 1, levels=1).tolist() == [[0, 0.5, 0.5]]  # the mean of all
    image[::2], image[1::2] = 255, 253  # white is in the last range
    assert dominant_colours(image, 1).tolist() == [[254 / 255] * 3]


def test_errors():
    vertices, triangles = SQUARE
    with pytest.raises(ShapeError, match=r"\[surface_points\] 'vertices' must have shape \(n, 3\), got \(4, 2\)"):
        surface_points(vertices[:, :2], triangles, 5)
    with pytest.raises(ArgumentError, match=r"'triangles' must hold numbers of vertices, 0..3, got \(1, 4\)"):
        surface_points(vertices, triangles + 1, 5)
    with pytest.raises(ArgumentError, match=r"'triangles' must have an area, got 0.0"):
        surface_points(vertices * 0, triangles, 5)
    with pytest.raises(ArgumentError, match="'count' must be positive"):
        surface_points(vertices, triangles, 0)
    with pytest.raises(ArgumentError, match=r"\[shape_distribution\] 'bins' must be positive"):
        shape_distribution(vertices, triangles, bins=0)
    with pytest.raises(
        ShapeError, match=r"'image' must be uint8 \(H, W, 3\) with pixels, got \('float64', \(2, 2, 3\)\)"
    ):
        dominant_colours(np.zeros((2, 2, 3)))
    for options in ({"colours": 0}, {"levels": 0}, {"levels": 257}):
        with pytest.raises(ArgumentError, match=f"'{next(iter(options))}' must be"):
            dominant_colours(np.zeros((2, 2, 3), np.uint8), **options)
