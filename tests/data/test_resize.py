"""Resizing, against a double loop, PyTorch, Pillow and worked numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlab.data import transforms as T
from nnlab.data.transforms.resize import resize
from nnlab.errors import ArgumentError


def oracle_axis(values: np.ndarray, n_out: int, antialias: bool) -> np.ndarray:
    """One axis (the first) of a float64 array by the definition: a triangle around the centre of each output pixel."""
    n_in = len(values)
    scale = n_in / n_out
    result = np.zeros((n_out, *values.shape[1:]))
    for i in range(n_out):
        centre = (i + 0.5) * scale
        if antialias:
            radius = max(scale, 1.0)
            weights = [max(0.0, 1 - abs(j + 0.5 - centre) / radius) for j in range(n_in)]
            for j, weight in enumerate(weights):
                result[i] += values[j] * weight / sum(weights)
        else:
            position = min(max(centre - 0.5, 0), n_in - 1)
            low = math.floor(position)
            high = min(low + 1, n_in - 1)
            result[i] = values[low] * (1 - (position - low)) + values[high] * (position - low)
    return result


def oracle(image: np.ndarray, size: tuple[int, int], antialias: bool) -> np.ndarray:
    rows = oracle_axis(image.astype(np.float64), size[0], antialias)
    return oracle_axis(rows.swapaxes(0, 1), size[1], antialias).swapaxes(0, 1)


sides = st.integers(1, 23)


@given(sides, sides, sides, sides, st.booleans(), st.integers(0, 1000))
def test_bilinear_is_the_definition(h: int, w: int, out_h: int, out_w: int, antialias: bool, seed: int) -> None:
    image = np.random.default_rng(seed).random((h, w, 3), dtype=np.float32)
    result = resize(image, (out_h, out_w), antialias=antialias)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, oracle(image, (out_h, out_w), antialias), rtol=0, atol=1e-6)


@pytest.mark.torch
@pytest.mark.external
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("size", [(5, 7), (31, 4), (40, 60), (20, 29), (19, 90)])
def test_bilinear_is_pytorchs(size: tuple[int, int], antialias: bool) -> None:
    torch = pytest.importorskip("torch")
    image = np.random.default_rng(0).random((20, 29, 3)).astype(np.float32)
    given = torch.from_numpy(image.astype(np.float64)).permute(2, 0, 1)[None]
    wanted = torch.nn.functional.interpolate(given, size, mode="bilinear", antialias=antialias, align_corners=False)
    np.testing.assert_allclose(resize(image, size, antialias=antialias), wanted[0].permute(1, 2, 0), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(5, 7), (31, 4), (40, 60), (19, 90)])
def test_uint8_is_pillows(size: tuple[int, int]) -> None:
    pillow = pytest.importorskip("PIL.Image")
    # An odd size: then no output pixel's centre lies on an edge between pixels, where rounding decides.
    image = np.random.default_rng(0).integers(0, 256, (21, 29, 3), dtype=np.uint8)
    wanted = np.asarray(pillow.fromarray(image).resize(size[::-1], pillow.Resampling.BILINEAR)).astype(int)
    assert np.abs(resize(image, size).astype(int) - wanted).max() <= 1  # Pillow rounds between the two axes
    nearest = np.asarray(pillow.fromarray(image).resize(size[::-1], pillow.Resampling.NEAREST))
    np.testing.assert_array_equal(resize(image, size, "nearest"), nearest)


def test_worked_numbers() -> None:
    row = np.array([0, 100, 200, 40], np.uint8).reshape(1, 4, 1)
    # Half size: each output pixel weighs its neighbourhood 1 : 3 : 3 : 1; the edge loses the outer 1.
    half = resize(row, (1, 2))[0, :, 0]
    assert half.tolist() == [round((0 * 3 + 100 * 3 + 200) / 7), round((100 + 200 * 3 + 40 * 3) / 7)]
    assert resize(row, (1, 2), antialias=False)[0, :, 0].tolist() == [50, 120]
    assert resize(row, (1, 2), "nearest")[0, :, 0].tolist() == [100, 40]
    double = resize(row[:, :2], (1, 4))[0, :, 0]
    assert double.tolist() == [0, 25, 75, 100]


def test_batches_are_the_same_bits() -> None:
    images = np.random.default_rng(1).integers(0, 256, (4, 17, 30, 3), dtype=np.uint8)
    transform = T.Resize(9)
    together = transform.batch(images, None)
    for image, result in zip(images, together, strict=True):
        np.testing.assert_array_equal(transform(image), result)


@pytest.mark.parametrize(
    ("shape", "size", "wanted"),
    [((30, 45), 10, (10, 15)), ((45, 30), 10, (15, 10)), ((33, 50), 10, (10, 15)), ((30, 45), (7, 8), (7, 8))],
)
def test_the_shorter_side(shape: tuple[int, int], size: int | tuple[int, int], wanted: tuple[int, int]) -> None:
    assert T.Resize(size)(np.zeros((*shape, 3), np.uint8)).shape == (*wanted, 3)


def test_constant_images_stay_constant() -> None:
    image = np.full((13, 29, 1), 201, np.uint8)
    for size in [(5, 5), (60, 3), (13, 100)]:
        assert (resize(image, size) == 201).all()


@pytest.mark.parametrize("size", [0, (3, -1), (1, 2, 3), 2.5])
def test_bad_sizes(size: object) -> None:
    with pytest.raises(ArgumentError, match=r"\[Resize\] 'size'"):
        T.Resize(size)  # type: ignore[arg-type]


def test_bad_interpolation() -> None:
    with pytest.raises(ArgumentError, match="bilinear"):
        T.Resize(3, interpolation="lanczos")
