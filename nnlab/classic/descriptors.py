"""Hand-made descriptors: what a classifier was given before networks learned to find it.

Plain NumPy: a shape or an image goes in, a few numbers for a linear classifier come out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnlab.errors import ArgumentError, ShapeError, complaint
from nnlab.random import host_generator


def surface_points(vertices: ArrayLike, triangles: ArrayLike, count: int, *, seed: int = 0) -> NDArray[np.float64]:
    """Points drawn evenly from the surface of a triangle mesh.

    A triangle (A, B, C) is chosen in proportion to its area, and in it, with r1 and r2 uniform in 0..1, the point
    ``(1 - sqrt(r1)) A + sqrt(r1) (1 - r2) B + sqrt(r1) r2 C``.

    Source: Osada, Funkhouser, Chazelle, Dobkin, "Shape distributions", ACM Transactions on Graphics 21(4), 2002.

    Args:
        vertices: (V, 3).
        triangles: (T, 3), numbers of vertices.
        count: how many points.
        seed: the points are a function of it.

    Returns:
        (count, 3).

    Raises:
        ArgumentError: count is not positive, a triangle names a vertex that is not there, or the area is 0.
        ShapeError: the arrays have other shapes.
    """
    corners, faces = np.asarray(vertices, np.float64), np.asarray(triangles)
    for name, array in (("vertices", corners), ("triangles", faces)):
        if array.ndim != 2 or array.shape[1] != 3:
            raise ShapeError(complaint("surface_points", name, "have shape (n, 3)", array.shape))
    if count < 1:
        raise ArgumentError(complaint("surface_points", "count", "be positive", count))
    if faces.size and not 0 <= faces.min() <= faces.max() < len(corners):
        must = f"hold numbers of vertices, 0..{len(corners) - 1}"
        raise ArgumentError(complaint("surface_points", "triangles", must, (int(faces.min()), int(faces.max()))))
    a, b, c = (corners[faces[:, i]] for i in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    if not areas.sum() > 0:
        raise ArgumentError(complaint("surface_points", "triangles", "have an area", float(areas.sum())))
    rng = host_generator(seed, 0, 0, 1)
    chosen = rng.choice(len(faces), count, p=areas / areas.sum())
    root, second = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
    return (1 - root) * a[chosen] + root * (1 - second) * b[chosen] + root * second * c[chosen]


def shape_distribution(
    vertices: ArrayLike, triangles: ArrayLike, *, pairs: int = 20000, bins: int = 32, seed: int = 0
) -> NDArray[np.float64]:
    """The shape distribution D2: how far two random points of a surface lie apart.

    Distances are divided by their mean, so that neither size, place nor orientation of the shape matters, and counted
    in bins of equal width between 0 and 3 (what lies above goes into the last one).

    Source: Osada, Funkhouser, Chazelle, Dobkin, "Shape distributions", ACM Transactions on Graphics 21(4), 2002.

    Args:
        vertices: (V, 3).
        triangles: (T, 3), numbers of vertices.
        pairs: how many distances; the standard error of a share s is ``sqrt(s (1 - s) / pairs)``.
        bins: how many shares.
        seed: the points are a function of it.

    Returns:
        The shares (bins,), which add up to 1.

    Raises:
        ArgumentError, ShapeError: as :func:`surface_points`; bins is not positive.
    """
    if bins < 1:
        raise ArgumentError(complaint("shape_distribution", "bins", "be positive", bins))
    first, second = np.split(surface_points(vertices, triangles, 2 * pairs, seed=seed), 2)
    distances = np.linalg.norm(first - second, axis=1)
    places = np.minimum(distances / distances.mean() * (bins / 3), bins - 1).astype(np.int64)
    return np.bincount(places, minlength=bins) / pairs


def dominant_colours(image: ArrayLike, colours: int = 2, *, levels: int = 4) -> NDArray[np.float64]:
    """The most frequent colours of an image.

    Each channel's values are cut into ``levels`` ranges of equal width. Pixels in the same ranges count as one colour,
    their mean. Of equally frequent colours the one with the smaller red, then green, then blue range comes first.

    Args:
        image: uint8 (H, W, 3).
        colours: how many.
        levels: ranges of a channel, 1..256.

    Returns:
        (colours, 3) in 0..1, the most frequent first; an image of fewer colours repeats its last one.

    Raises:
        ArgumentError: colours is not positive, or levels not in 1..256.
        ShapeError: the image is no such array, or empty.
    """
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        got = (pixels.dtype.name, pixels.shape)
        raise ShapeError(complaint("dominant_colours", "image", "be uint8 (H, W, 3) with pixels", got))
    if colours < 1:
        raise ArgumentError(complaint("dominant_colours", "colours", "be positive", colours))
    if not 1 <= levels <= 256:
        raise ArgumentError(complaint("dominant_colours", "levels", "be in 1..256", levels))
    pixels = pixels.reshape(-1, 3)
    ranges = pixels.astype(np.int64) * levels // 256 @ np.array([levels * levels, levels, 1])
    found, member, counts = np.unique(ranges, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:colours]
    means = np.stack([np.bincount(member, pixels[:, i], len(found)) for i in range(3)], 1) / counts[:, None]
    best = means[order] / 255
    return np.concatenate([best, np.repeat(best[-1:], colours - len(best), 0)])
