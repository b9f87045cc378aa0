"""Random rotation, shift, zoom and shear."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnlab.data.transforms.base import Image, Transform
from nnlab.data.transforms.resize import check_interpolation
from nnlab.data.transforms.sizes import interval
from nnlab.errors import ArgumentError, complaint


def warp(image: Image, inverse: NDArray[Any], interpolation: str = "bilinear", fill: float = 0) -> Image:
    """Sample an image at transformed positions.

    Args:
        image: (H, W, C).
        inverse: (2, 3) matrix; output position (x, y), measured from the image's centre in pixels, is taken from the
            input position ``inverse @ (x, y, 1)``, measured likewise.
        interpolation: "bilinear" or "nearest".
        fill: value outside the image.

    Returns:
        (H, W, C), same dtype.
    """
    height, width, _ = image.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    x -= (width - 1) / 2
    y -= (height - 1) / 2
    source_x = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2] + (width - 1) / 2
    source_y = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2] + (height - 1) / 2

    def at(rows: NDArray[Any], columns: NDArray[Any]) -> Image:
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        values = image[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
        return np.where(inside[:, :, None], values, np.asarray(fill, dtype=image.dtype))

    if interpolation == "nearest":
        return at(np.floor(source_y + 0.5).astype(np.int64), np.floor(source_x + 0.5).astype(np.int64))
    top, left = np.floor(source_y).astype(np.int64), np.floor(source_x).astype(np.int64)
    dy = (source_y - top).astype(np.float32)[:, :, None]
    dx = (source_x - left).astype(np.float32)[:, :, None]
    upper = at(top, left) * (1 - dx) + at(top, left + 1) * dx
    lower = at(top + 1, left) * (1 - dx) + at(top + 1, left + 1) * dx
    values = upper * (1 - dy) + lower * dy
    return np.rint(values).astype(np.uint8) if image.dtype == np.uint8 else values


class RandomAffine(Transform):
    """Turn, shift, zoom and shear an image about its centre by random amounts.

    Args:
        degrees: d for an angle from (-d, d), or (low, high); counter-clockwise.
        translate: (a, b): shift by up to a * W to the sides and b * H up or down. Default none.
        scale: range of the zoom factor. Default none.
        shear: s for an angle in degrees from (-s, s), or (low, high), along x. Default none.
        interpolation: "bilinear" or "nearest". Default "bilinear".
        fill: value outside the image. Default 0.
    """

    random = True

    def __init__(
        self,
        degrees: float | Sequence[float],
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: float | Sequence[float] | None = None,
        interpolation: str = "bilinear",
        fill: float = 0,
    ) -> None:
        self.degrees = self._angles("degrees", degrees)
        self.translate = (0.0, 0.0) if translate is None else tuple(float(t) for t in translate)
        if len(self.translate) != 2 or not all(0 <= t <= 1 for t in self.translate):
            raise ArgumentError(complaint(type(self).__name__, "translate", "be two numbers in 0..1", translate))
        self.scale = interval(type(self).__name__, "scale", (1, 1) if scale is None else scale, lowest=1e-6)
        self.shear = self._angles("shear", 0 if shear is None else shear)
        self.interpolation = check_interpolation(type(self).__name__, interpolation)
        self.fill = fill

    def _angles(self, name: str, value: float | Sequence[float]) -> tuple[float, float]:
        bounds = (-abs(value), abs(value)) if isinstance(value, int | float) else value
        return interval(type(self).__name__, name, bounds, lowest=-360)

    def draw(self, rng: np.random.Generator, shape: tuple[int, int, int]) -> NDArray[Any]:
        height, width, _ = shape
        angle, shear = math.radians(rng.uniform(*self.degrees)), math.radians(rng.uniform(*self.shear))
        zoom = rng.uniform(*self.scale)
        shift = [rng.uniform(-1, 1) * share * side for share, side in zip(self.translate, (width, height), strict=True)]
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        forward = zoom * turn @ np.array([[1, math.tan(shear)], [0, 1]])
        inverse = np.linalg.inv(forward)
        return np.column_stack([inverse, -inverse @ np.asarray(shift)])

    def one(self, image: Image, drawn: Any) -> Image:
        return warp(image, drawn, self.interpolation, self.fill)


class RandomRotation(RandomAffine):
    """Turn an image about its centre by a random angle; the size stays.

    Args:
        degrees: d for an angle from (-d, d), or (low, high); counter-clockwise.
        interpolation: "bilinear" or "nearest". Default "nearest".
        fill: value outside the image. Default 0.
    """

    def __init__(self, degrees: float | Sequence[float], interpolation: str = "nearest", fill: float = 0) -> None:
        super().__init__(degrees, interpolation=interpolation, fill=fill)
