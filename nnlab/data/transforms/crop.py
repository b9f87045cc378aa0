"""Padding, crops and flips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnlab.data.transforms.base import Image, Transform, chance
from nnlab.data.transforms.resize import check_interpolation, resize
from nnlab.data.transforms.sizes import interval, padding_sides, probability, size_pair
from nnlab.errors import ArgumentError, ShapeError, complaint

_PADDING_MODES = ("constant", "edge", "reflect", "symmetric")


def _pad(images: Image, sides: tuple[int, int, int, int], fill: float, mode: str) -> Image:
    left, top, right, bottom = sides
    if not any(sides):
        return images
    if mode == "constant":
        *lead, height, width, channels = images.shape
        result = np.full((*lead, height + top + bottom, width + left + right, channels), fill, dtype=images.dtype)
        result[..., top : top + height, left : left + width, :] = images
        return result
    widths = [(0, 0)] * (images.ndim - 3) + [(top, bottom), (left, right), (0, 0)]
    return np.pad(images, widths, mode=mode)  # type: ignore[call-overload]


def _check_mode(where: str, mode: str) -> str:
    if mode not in _PADDING_MODES:
        raise ArgumentError(complaint(where, "padding_mode", f"be one of {_PADDING_MODES}", mode))
    return mode


class Pad(Transform):
    """Add a border.

    Args:
        padding: one number, (left and right, top and bottom), or (left, top, right, bottom).
        fill: value of the border, on the scale of the image. Default 0.
        padding_mode: "constant", "edge", "reflect" (without the edge pixel) or "symmetric". Default "constant".
    """

    def __init__(self, padding: int | Sequence[int], fill: float = 0, padding_mode: str = "constant") -> None:
        self.padding = padding_sides("Pad", padding)
        self.fill = fill
        self.padding_mode = _check_mode("Pad", padding_mode)

    def apply(self, images: Image, drawn: Sequence[Any]) -> Image:
        return _pad(images, self.padding, self.fill, self.padding_mode)


class CenterCrop(Transform):
    """The middle of an image; a smaller image gets a border of 0 first.

    Args:
        size: one number or (h, w).
    """

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = size_pair("CenterCrop", size)

    def apply(self, images: Image, drawn: Sequence[Any]) -> Image:
        h, w = self.size
        height, width = images.shape[-3:-1]
        more_h, more_w = max(h - height, 0), max(w - width, 0)
        images = _pad(images, (more_w // 2, more_h // 2, (more_w + 1) // 2, (more_h + 1) // 2), 0, "constant")
        height, width = images.shape[-3:-1]
        top, left = round((height - h) / 2), round((width - w) / 2)
        return images[..., top : top + h, left : left + w, :]


class RandomCrop(Transform):
    """A crop at a random position.

    Args:
        size: one number or (h, w).
        padding: border to add first, as in :class:`Pad`. Default none.
        pad_if_needed: add a border to images smaller than ``size``. Default False.
        fill, padding_mode: as in :class:`Pad`.

    Raises:
        ShapeError: the padded image is smaller than the crop.
    """

    random = True

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        fill: float = 0,
        padding_mode: str = "constant",
    ) -> None:
        self.size = size_pair("RandomCrop", size)
        self.padding = padding_sides("RandomCrop", 0 if padding is None else padding)
        self.pad_if_needed = pad_if_needed
        self.fill = fill
        self.padding_mode = _check_mode("RandomCrop", padding_mode)

    def _sides(self, height: int, width: int) -> tuple[int, int, int, int]:
        left, top, right, bottom = self.padding
        if self.pad_if_needed:
            more_h = max(self.size[0] - height - top - bottom, 0)
            more_w = max(self.size[1] - width - left - right, 0)
            left, top, right, bottom = left + more_w, top + more_h, right + more_w, bottom + more_h
        return left, top, right, bottom

    def draw(self, rng: np.random.Generator, shape: tuple[int, int, int]) -> tuple[int, int]:
        left, top, right, bottom = self._sides(shape[0], shape[1])
        rows = shape[0] + top + bottom - self.size[0] + 1
        columns = shape[1] + left + right - self.size[1] + 1
        if rows <= 0 or columns <= 0:
            raise ShapeError(f"[RandomCrop] 'size' must fit the padded image {shape}, got {self.size}")
        return int(rng.integers(rows)), int(rng.integers(columns))

    def apply(self, images: Image, drawn: Sequence[Any]) -> Image:
        h, w = self.size
        padded = _pad(images, self._sides(*images.shape[1:3]), self.fill, self.padding_mode)
        result = np.empty((len(images), h, w, images.shape[-1]), dtype=images.dtype)
        for i, (top, left) in enumerate(drawn):
            result[i] = padded[i, top : top + h, left : left + w]
        return result


class RandomResizedCrop(Transform):
    """A crop of random area and aspect ratio, resized (the usual augmentation for ImageNet).

    Tries ten times to find a crop that fits; then takes the largest centred one with an allowed aspect ratio.

    Args:
        size: of the result, one number or (h, w).
        scale: range of the crop's share of the area. Default (0.08, 1).
        ratio: range of its width / height, drawn uniformly in the logarithm. Default (3/4, 4/3).
        interpolation, antialias: as in :class:`Resize`.

    Source: Szegedy et al., "Going deeper with convolutions", 2014, section 6.
    """

    random = True

    def __init__(
        self,
        size: int | Sequence[int],
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: str = "bilinear",
        antialias: bool = True,
    ) -> None:
        self.size = size_pair("RandomResizedCrop", size)
        self.scale = interval("RandomResizedCrop", "scale", scale)
        self.ratio = interval("RandomResizedCrop", "ratio", ratio, lowest=1e-6)
        self.interpolation = check_interpolation("RandomResizedCrop", interpolation)
        self.antialias = antialias

    def draw(self, rng: np.random.Generator, shape: tuple[int, int, int]) -> tuple[int, int, int, int]:
        height, width, _ = shape
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for _ in range(10):
            area = height * width * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(low, high))
            h, w = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            if 0 < h <= height and 0 < w <= width:
                return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        h = min(height, max(round(width / ratio), 1))
        w = min(width, max(round(height * ratio), 1))
        return (height - h) // 2, (width - w) // 2, h, w

    def one(self, image: Image, drawn: Any) -> Image:
        top, left, h, w = drawn
        return resize(image[top : top + h, left : left + w], self.size, self.interpolation, self.antialias)


class _RandomFlip(Transform):
    random = True
    _axis: int

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability(type(self).__name__, p)

    def draw(self, rng: np.random.Generator, shape: tuple[int, int, int]) -> bool:
        return chance(rng, self.p)

    def apply(self, images: Image, drawn: Sequence[Any]) -> Image:
        chosen = np.asarray(drawn, dtype=bool).reshape(-1, 1, 1, 1)
        return np.where(chosen, np.flip(images, self._axis), images)


class RandomHorizontalFlip(_RandomFlip):
    """Mirror left and right with probability ``p``. Default 0.5."""

    _axis = 2


class RandomVerticalFlip(_RandomFlip):
    """Mirror top and bottom with probability ``p``. Default 0.5."""

    _axis = 1


class FiveCrop(Transform):
    """Corners and centre, (H, W, C) to (5, h, w, C): top left, top right, bottom left, bottom right, centre.

    Args:
        size: one number or (h, w).
    """

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = size_pair(type(self).__name__, size)

    def apply(self, images: Image, drawn: Sequence[Any]) -> Image:
        h, w = self.size
        height, width = images.shape[-3:-1]
        if h > height or w > width:
            raise ShapeError(f"[{type(self).__name__}] 'size' must fit the image {height, width}, got {self.size}")
        corners = [(0, 0), (0, width - w), (height - h, 0), (height - h, width - w)]
        corners.append((round((height - h) / 2), round((width - w) / 2)))
        return np.stack([images[..., top : top + h, left : left + w, :] for top, left in corners], axis=-4)


class TenCrop(FiveCrop):
    """Five crops and their mirror images: (H, W, C) to (10, h, w, C). The average of a network's outputs over them is
    AlexNet's way of testing.

    Args:
        size: one number or (h, w).
        vertical_flip: mirror top and bottom instead of left and right. Default False.

    Source: Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks", 2012.
    """

    def __init__(self, size: int | Sequence[int], vertical_flip: bool = False) -> None:
        super().__init__(size)
        self.vertical_flip = vertical_flip

    def apply(self, images: Image, drawn: Sequence[Any]) -> Image:
        flipped = np.flip(images, -3 if self.vertical_flip else -2)
        return np.concatenate([super().apply(images, drawn), super().apply(flipped, drawn)], axis=-4)
