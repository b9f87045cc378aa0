"""Resizing.

Pixel i of an axis covers [i, i + 1); the centre of output pixel i lies at ``(i + 0.5) * in / out`` of the input.
Bilinear weights are a triangle around it, of radius 1 pixel, or of radius ``in / out`` when antialiasing a smaller
output (Pillow's and PyTorch's rule). Sums run over the taps in a fixed order in float32, so results do not depend on
the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnlab.data.transforms.base import Image, Transform
from nnlab.data.transforms.sizes import size_pair
from nnlab.errors import ArgumentError, complaint

INTERPOLATIONS = ("bilinear", "nearest")


@lru_cache(maxsize=512)
def _bilinear_taps(n_in: int, n_out: int, antialias: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """Input positions (K, n_out) and float32 weights (K, n_out) of each output pixel; the weights add up to 1."""
    scale = n_in / n_out
    radius = max(scale, 1.0) if antialias else 1.0
    centre = (np.arange(n_out) + 0.5) * scale
    if not antialias:
        centre = np.clip(centre, 0.5, n_in - 0.5)
    first = np.floor(centre - radius + 0.5).astype(np.int64)
    count = int(np.ceil(2 * radius)) + 1
    index = first + np.arange(count)[:, None]
    weight = np.maximum(1 - np.abs(index + 0.5 - centre) / radius, 0)
    weight[(index < 0) | (index >= n_in)] = 0
    used = weight.any(axis=1)
    weight = weight[used] / weight.sum(axis=0)
    return np.clip(index[used], 0, n_in - 1), weight.astype(np.float32)


def _resample(images: Image, axis: int, n_out: int, antialias: bool) -> Image:
    """float32 images (…, H, W, C) with one axis resized."""
    n_in = images.shape[axis]
    if n_in == n_out:
        return images
    index, weight = _bilinear_taps(n_in, n_out, antialias)
    front = np.ascontiguousarray(np.moveaxis(images, axis, 0))
    rows = front.reshape(n_in, -1)
    total = np.zeros((n_out, rows.shape[1]), dtype=np.float32)
    for positions, weights in zip(index, weight, strict=True):
        total += rows[positions] * weights[:, None]
    return np.moveaxis(total.reshape(n_out, *front.shape[1:]), 0, axis)


def resize(images: Image, size: tuple[int, int], interpolation: str = "bilinear", antialias: bool = True) -> Image:
    """Images (…, H, W, C) resized to (…, h, w, C), in the same dtype (uint8 is rounded).

    Args:
        size: (h, w).
        interpolation: "bilinear" or "nearest" (the pixel that holds the centre of the output pixel).
        antialias: for bilinear, average over all input pixels under an output pixel when making smaller. Default True.
    """
    if images.shape[-3:-1] == size:
        return images
    height, width = images.shape[-3:-1]
    if interpolation == "nearest":
        rows = ((2 * np.arange(size[0]) + 1) * height) // (2 * size[0])
        columns = ((2 * np.arange(size[1]) + 1) * width) // (2 * size[1])
        return np.take(np.take(images, rows, axis=-3), columns, axis=-2)
    values = images.astype(np.float32)
    axes = (-3, -2) if size[0] * width <= height * size[1] else (-2, -3)  # the axis that shrinks more goes first
    for axis in axes:
        values = _resample(values, axis, size[axis + 3], antialias)
    if images.dtype == np.uint8:
        return np.floor(np.clip(values, 0, 255) + np.float32(0.5)).astype(np.uint8)
    return np.ascontiguousarray(values)


def check_interpolation(where: str, interpolation: str) -> str:
    if interpolation not in INTERPOLATIONS:
        raise ArgumentError(complaint(where, "interpolation", f"be one of {INTERPOLATIONS}", interpolation))
    return interpolation


class Resize(Transform):
    """Resize an image.

    Args:
        size: (h, w), or one number for the shorter side (the other keeps the aspect ratio, rounded down).
        interpolation: "bilinear" or "nearest". Default "bilinear".
        antialias: average when making smaller. Default True.
    """

    def __init__(self, size: int | Sequence[int], interpolation: str = "bilinear", antialias: bool = True) -> None:
        self.size = size_pair("Resize", size)
        self.shorter_side = not isinstance(size, Sequence)
        self.interpolation = check_interpolation("Resize", interpolation)
        self.antialias = antialias

    def _target(self, height: int, width: int) -> tuple[int, int]:
        if not self.shorter_side:
            return self.size
        side = self.size[0]
        return (side, side * width // height) if height <= width else (side * height // width, side)

    def apply(self, images: Image, drawn: Sequence[Any]) -> Image:
        target = self._target(*images.shape[-3:-1])
        return resize(images, target, self.interpolation, self.antialias)
