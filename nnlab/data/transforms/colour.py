"""Random changes of colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnlab.data.transforms.base import Image, Transform, like, unit
from nnlab.data.transforms.sizes import interval
from nnlab.data.transforms.tone import luma
from nnlab.errors import ArgumentError, ShapeError, complaint

# Principal components of the RGB values (scale 0..1) of the ImageNet training set: variances and directions (columns).
_IMAGENET_VALUES = (0.2175, 0.0188, 0.0045)
_IMAGENET_VECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


def _blend(image: Image, other: Image | float, factor: float) -> Image:
    return np.clip(image * np.float32(factor) + np.asarray(other, np.float32) * np.float32(1 - factor), 0, 1)


def rgb_to_hsv(image: Image) -> Image:
    """(…, 3) RGB in 0..1 to hue (0..1, a circle), saturation and value."""
    value = image.max(axis=-1)
    spread = value - image.min(axis=-1)
    safe = np.where(spread == 0, np.float32(1), spread)
    r, g, b = ((value - image[..., i]) / safe for i in range(3))
    hue = np.where(image[..., 0] == value, b - g, np.where(image[..., 1] == value, 2 + r - b, 4 + g - r))
    hue = np.where(spread == 0, np.float32(0), hue / 6 % 1)
    saturation = spread / np.where(value == 0, np.float32(1), value)
    return np.stack([hue, saturation, value], axis=-1)


def hsv_to_rgb(image: Image) -> Image:
    """The inverse of :func:`rgb_to_hsv`."""
    hue, saturation, value = image[..., 0], image[..., 1], image[..., 2]

    def channel(n: int) -> Image:
        k = (np.float32(n) + hue * 6) % 6
        return value - value * saturation * np.clip(np.minimum(k, 4 - k), 0, 1)

    return np.stack([channel(5), channel(3), channel(1)], axis=-1)


class ColorJitter(Transform):
    """Random brightness, contrast, saturation and hue, in random order.

    Brightness b multiplies the image; contrast and saturation c blend it with its mean brightness and with its grey
    image, ``c * x + (1 - c) * other``; hue is turned by h full circles. Results are clipped to 0..1. The image must be
    uint8 or float32 in 0..1. Saturation and hue leave grey images as they are.

    Args:
        brightness, contrast, saturation: b for a factor drawn from (max(0, 1 - b), 1 + b), or (low, high). Default 0.
        hue: h for an angle drawn from (-h, h), or (low, high), in -0.5..0.5. Default 0.
    """

    random = True

    def __init__(
        self,
        brightness: float | Sequence[float] = 0,
        contrast: float | Sequence[float] = 0,
        saturation: float | Sequence[float] = 0,
        hue: float | Sequence[float] = 0,
    ) -> None:
        self.brightness = self._factor("brightness", brightness)
        self.contrast = self._factor("contrast", contrast)
        self.saturation = self._factor("saturation", saturation)
        bounds = (-hue, hue) if isinstance(hue, int | float) else hue
        self.hue = interval("ColorJitter", "hue", bounds, lowest=-0.5)
        if self.hue[1] > 0.5:
            raise ArgumentError(complaint("ColorJitter", "hue", "lie in -0.5..0.5", hue))

    @staticmethod
    def _factor(name: str, value: float | Sequence[float]) -> tuple[float, float]:
        if isinstance(value, int | float):
            if value < 0:
                raise ArgumentError(complaint("ColorJitter", name, "not be negative", value))
            return max(0.0, 1.0 - value), 1.0 + value
        return interval("ColorJitter", name, value)

    def draw(self, rng: np.random.Generator, shape: tuple[int, int, int]) -> tuple[list[int], list[float]]:
        amounts = [rng.uniform(*bounds) for bounds in (self.brightness, self.contrast, self.saturation, self.hue)]
        return rng.permutation(4).tolist(), amounts

    def one(self, image: Image, drawn: Any) -> Image:
        order, amounts = drawn
        colour = image.shape[-1] == 3
        values = unit(image)
        for step in order:
            amount = amounts[step]
            if step == 0 and amount != 1:
                values = _blend(values, 0.0, amount)
            elif step == 1 and amount != 1:
                grey = luma(values) if colour else values
                values = _blend(values, float(grey.mean(dtype=np.float64)), amount)
            elif step == 2 and amount != 1 and colour:
                values = _blend(values, luma(values), amount)
            elif step == 3 and amount != 0 and colour:
                hsv = rgb_to_hsv(values)
                hsv[..., 0] = (hsv[..., 0] + np.float32(amount)) % 1
                values = hsv_to_rgb(hsv)
        return like(values, image)


class PCANoise(Transform):
    """AlexNet's colour noise: adds ``sum_i a_i * value_i * vector_i`` to every pixel, ``a_i ~ N(0, std)``.

    As in AlexNet, ``value_i`` and ``vector_i`` are the eigenvalues and eigenvectors of the 3x3 covariance of the RGB
    values on the scale 0..1. uint8 results are rounded and clipped, float32 results are left as they are.

    Args:
        std: standard deviation of the three numbers drawn for each image. Default 0.1.
        values: 3 eigenvalues. Default: those of ImageNet.
        vectors: (3, 3), one eigenvector a column. Default: those of ImageNet.

    Source: Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks", 2012,
    section 4.1.
    """

    random = True

    def __init__(
        self,
        std: float = 0.1,
        values: Sequence[float] = _IMAGENET_VALUES,
        vectors: Sequence[Sequence[float]] = _IMAGENET_VECTORS,
    ) -> None:
        if std < 0:
            raise ArgumentError(complaint("PCANoise", "std", "not be negative", std))
        self.std = std
        self.values = np.asarray(values, dtype=np.float64)
        self.vectors = np.asarray(vectors, dtype=np.float64)
        if self.values.shape != (3,) or self.vectors.shape != (3, 3):
            raise ArgumentError(complaint("PCANoise", "vectors", "be (3, 3), with 3 values", self.vectors.shape))

    def draw(self, rng: np.random.Generator, shape: tuple[int, int, int]) -> NDArray[Any]:
        if shape[2] != 3:
            raise ShapeError(f"[PCANoise] 'image' must have 3 channels, got {shape}")
        weighted = self.vectors * (rng.normal(0, self.std, 3) * self.values)
        return (weighted[:, 0] + weighted[:, 1] + weighted[:, 2]).astype(np.float32)

    def apply(self, images: Image, drawn: Sequence[Any]) -> Image:
        return like(unit(images) + np.stack(drawn)[:, None, None, :], images)
