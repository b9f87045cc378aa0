"""Scaling, channels and colour."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlab.data import sample_rng
from nnlab.data import transforms as T
from nnlab.data.transforms.colour import hsv_to_rgb, rgb_to_hsv
from nnlab.errors import ArgumentError, ShapeError

RGB = np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8)
RGB[0, :5] = 128  # grey pixels
RGB[1, :5] = [255, 0, 0]


def fixed(name: str, amount: float) -> T.ColorJitter:
    return T.ColorJitter(**{name: (amount, amount)})


def jitter(image: np.ndarray, name: str, amount: float) -> np.ndarray:
    return fixed(name, amount)(image, sample_rng(0, 0, 0))


def test_to_float_and_normalise() -> None:
    image = np.array([[[0, 51, 255]]], np.uint8)
    np.testing.assert_array_equal(T.ToFloat()(image), np.array([[[0, 0.2, 1]]], np.float32))
    wanted = [[[(0 - 0.5) / 0.25, (0.2 - 0.1) / 0.5, (1 - 0.2) / 2]]]
    normalise = T.Normalize((0.5, 0.1, 0.2), (0.25, 0.5, 2))
    np.testing.assert_allclose(normalise(image), wanted, rtol=1e-6)
    np.testing.assert_allclose(normalise(T.ToFloat()(image)), wanted, rtol=1e-6)
    assert normalise(image).dtype == np.float32
    grey = T.Normalize((0.5,), (0.5,))(np.array([[0, 255]], np.uint8))
    np.testing.assert_allclose(grey[0, :, 0], [-1, 1], rtol=1e-6)


def test_normalise_refuses() -> None:
    with pytest.raises(ShapeError, match=r"\[Normalize\].*3 channels, got 1"):
        T.Normalize((0, 0, 0), (1, 1, 1))(np.zeros((2, 2), np.uint8))
    with pytest.raises(ArgumentError, match="std"):
        T.Normalize((0, 0, 0), (1, 1))
    with pytest.raises(ArgumentError, match="positive"):
        T.Normalize((0,), (0,))


def test_grey_is_pillows() -> None:
    pillow = pytest.importorskip("PIL.Image")
    wanted = np.asarray(pillow.fromarray(RGB).convert("L")).astype(int)
    assert np.abs(T.Grayscale()(RGB)[:, :, 0].astype(int) - wanted).max() <= 1
    three = T.Grayscale(3)(RGB)
    np.testing.assert_array_equal(three, np.repeat(T.Grayscale()(RGB), 3, axis=-1))
    np.testing.assert_array_equal(T.Grayscale(3)(RGB[:, :, :1]), np.repeat(RGB[:, :, :1], 3, axis=-1))
    with pytest.raises(ArgumentError, match="num_output_channels"):
        T.Grayscale(2)


def test_to_rgb() -> None:
    assert T.ToRGB()(RGB[:, :, 0]).shape == RGB.shape
    np.testing.assert_array_equal(T.ToRGB()(RGB), RGB)
    np.testing.assert_array_equal(T.ToRGB()(np.dstack([RGB, RGB[:, :, :1]])), RGB)


@pytest.mark.parametrize("amount", [0.0, 0.5, 1.0, 1.7])
@pytest.mark.parametrize(
    ("name", "enhancer"), [("brightness", "Brightness"), ("contrast", "Contrast"), ("saturation", "Color")]
)
def test_jitter_is_pillows(name: str, enhancer: str, amount: float) -> None:
    pillow = pytest.importorskip("PIL.Image")
    enhance = pytest.importorskip("PIL.ImageEnhance")
    wanted = np.asarray(getattr(enhance, enhancer)(pillow.fromarray(RGB)).enhance(amount)).astype(int)
    assert np.abs(jitter(RGB, name, amount).astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("amount", [-0.5, -0.1, 0.3, 0.5])
def test_hue_is_that_of_colorsys(amount: float) -> None:
    image = RGB.astype(np.float32) / 255
    wanted = np.zeros((*RGB.shape[:2], 3))
    for i, j in np.ndindex(*RGB.shape[:2]):
        h, s, v = colorsys.rgb_to_hsv(*image[i, j].astype(float))
        wanted[i, j] = colorsys.hsv_to_rgb((h + amount) % 1, s, v)
    np.testing.assert_allclose(jitter(image, "hue", amount), wanted, rtol=0, atol=2e-6)


def test_hsv_and_back() -> None:
    image = RGB.astype(np.float32) / 255
    hsv = rgb_to_hsv(image)
    wanted = [colorsys.rgb_to_hsv(*pixel) for pixel in image.reshape(-1, 3).astype(float)]
    np.testing.assert_allclose(hsv.reshape(-1, 3), wanted, rtol=0, atol=2e-6)
    np.testing.assert_allclose(hsv_to_rgb(hsv), image, rtol=0, atol=1e-6)


def test_jitter_order_and_ranges() -> None:
    transform = T.ColorJitter(brightness=0.2, contrast=(0.5, 3), saturation=2, hue=0.1)
    orders, amounts = zip(*(transform.draw(sample_rng(0, 0, i), (4, 4, 3)) for i in range(500)), strict=True)
    assert len(set(map(tuple, orders))) == 24
    low, high = np.min(amounts, axis=0), np.max(amounts, axis=0)
    np.testing.assert_allclose(low, [0.8, 0.5, 0, -0.1], atol=0.02)
    np.testing.assert_allclose(high, [1.2, 3, 3, 0.1], atol=0.02)
    # Order matters: brightness before contrast is not contrast before brightness (clipping).
    bright = jitter(jitter(RGB, "brightness", 1.9), "contrast", 0.4)
    assert not np.array_equal(bright, jitter(jitter(RGB, "contrast", 0.4), "brightness", 1.9))


def test_jitter_of_grey_images() -> None:
    grey = RGB[:, :, :1]
    np.testing.assert_array_equal(jitter(grey, "hue", 0.3), grey)
    np.testing.assert_array_equal(jitter(grey, "saturation", 0.3), grey)
    assert jitter(grey, "brightness", 0.5).max() == 128  # 127.5 rounds to the even number


@pytest.mark.parametrize("options", [{"brightness": -1}, {"hue": 0.6}, {"contrast": (2, 1)}, {"hue": (-0.6, 0)}])
def test_jitter_refuses(options: dict[str, object]) -> None:
    with pytest.raises(ArgumentError, match=r"\[ColorJitter\]"):
        T.ColorJitter(**options)  # type: ignore[arg-type]


def test_pca_noise_has_alexnets_covariance() -> None:
    """The noise of many images has the covariance std^2 * V diag(value^2) V^T."""
    values, vectors = np.array([0.5, 0.2, 0.1]), np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    transform = T.PCANoise(0.3, values.tolist(), vectors.tolist())
    images = np.zeros((20000, 1, 2, 3), np.float32)
    noise = transform.batch(images, [sample_rng(0, 0, i) for i in range(len(images))])
    np.testing.assert_array_equal(noise[:, :, 0], noise[:, :, 1])  # the same for all pixels of an image
    wanted = 0.09 * vectors @ np.diag(values**2) @ vectors.T
    np.testing.assert_allclose(np.cov(noise[:, 0, 0].T), wanted, rtol=0, atol=0.04 * wanted.max())


def test_pca_noise_on_bytes_and_refusals() -> None:
    result = T.PCANoise(0)(RGB, sample_rng(0, 0, 0))
    np.testing.assert_array_equal(result, RGB)
    with pytest.raises(ShapeError, match="3 channels"):
        T.PCANoise()(RGB[:, :, :1], sample_rng(0, 0, 0))
    with pytest.raises(ArgumentError, match="vectors"):
        T.PCANoise(vectors=[[1, 0], [0, 1]])
    with pytest.raises(ArgumentError, match="std"):
        T.PCANoise(-1)


@given(st.floats(0, 3), st.integers(0, 255))
def test_brightness_of_one_pixel(factor: float, value: int) -> None:
    result = jitter(np.full((1, 1, 1), value, np.uint8), "brightness", factor)[0, 0, 0]
    assert abs(int(result) - min(255.0, factor * value)) <= 0.5 + 1e-3
