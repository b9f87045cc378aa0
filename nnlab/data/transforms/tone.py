"""Scaling, normalising and changing the number of channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnlab.data.transforms.base import Image, Transform, like, unit
from nnlab.errors import ArgumentError, ShapeError, complaint

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


def luma(images: Image) -> Image:
    """Brightness (…, H, W, 1) of RGB images (…, H, W, 3): 0.299 R + 0.587 G + 0.114 B."""
    r, g, b = (images[..., i : i + 1] * _LUMA[i] for i in range(3))
    return r + g + b


class ToFloat(Transform):
    """uint8 0..255 to float32 0..1; float32 stays."""

    def apply(self, images: Image, drawn: Sequence[Any]) -> Image:
        return unit(images)


class Normalize(Transform):
    """``(x - mean) / std`` for each channel, with x on the scale 0..1 (uint8 is divided by 255 first).

    Args:
        mean: one number a channel.
        std: one number a channel, not 0.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean = np.atleast_1d(np.asarray(mean, dtype=np.float64))
        self.std = np.atleast_1d(np.asarray(std, dtype=np.float64))
        if self.mean.shape != self.std.shape or self.mean.ndim != 1:
            raise ArgumentError(complaint("Normalize", "std", f"have {self.mean.size} entries like 'mean'", std))
        if not (self.std > 0).all():
            raise ArgumentError(complaint("Normalize", "std", "be positive", std))

    def apply(self, images: Image, drawn: Sequence[Any]) -> Image:
        if images.shape[-1] != self.mean.size:
            raise ShapeError(f"[Normalize] 'image' must have {self.mean.size} channels, got {images.shape[-1]}")
        full = 255.0 if images.dtype == np.uint8 else 1.0
        values = images.astype(np.float32)
        values -= (self.mean * full).astype(np.float32)
        values *= (1 / (self.std * full)).astype(np.float32)
        return values


class Grayscale(Transform):
    """Brightness of an RGB image, as one channel or repeated. A grey image stays.

    Args:
        num_output_channels: 1 or 3. Default 1.
    """

    def __init__(self, num_output_channels: int = 1) -> None:
        if num_output_channels not in (1, 3):
            raise ArgumentError(complaint("Grayscale", "num_output_channels", "be 1 or 3", num_output_channels))
        self.num_output_channels = num_output_channels

    def apply(self, images: Image, drawn: Sequence[Any]) -> Image:
        grey = images if images.shape[-1] == 1 else like(luma(unit(images[..., :3])), images)
        return np.repeat(grey, self.num_output_channels, axis=-1)


class ToRGB(Transform):
    """Three channels: a grey image is repeated, RGB stays, RGBA loses its alpha channel."""

    def apply(self, images: Image, drawn: Sequence[Any]) -> Image:
        return np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images[..., :3]
