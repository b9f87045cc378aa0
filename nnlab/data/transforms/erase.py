"""Random erasing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnlab.data.transforms.base import Image, Transform, chance
from nnlab.data.transforms.sizes import interval, probability
from nnlab.errors import ArgumentError, complaint


class RandomErasing(Transform):
    """Fill a random rectangle.

    Args:
        p: probability that an image is changed. Default 0.5.
        scale: range of the rectangle's share of the area. Default (0.02, 0.33).
        ratio: range of its height / width, drawn uniformly in the logarithm. Default (0.3, 3.3).
        value: what to fill in, on the scale of the image: a number, one number a channel, or "random" (standard
            normal numbers, for normalised float images). Default 0.

    Source: Zhong et al., "Random erasing data augmentation", 2017.
    """

    random = True

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: float | Sequence[float] | str = 0,
    ) -> None:
        self.p = probability("RandomErasing", p)
        self.scale = interval("RandomErasing", "scale", scale)
        self.ratio = interval("RandomErasing", "ratio", ratio, lowest=1e-6)
        if isinstance(value, str) and value != "random":
            raise ArgumentError(complaint("RandomErasing", "value", "be a number, one a channel, or 'random'", value))
        self.value = value

    def draw(self, rng: np.random.Generator, shape: tuple[int, int, int]) -> Any:
        if not chance(rng, self.p):
            return None
        height, width, channels = shape
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for _ in range(10):
            area = height * width * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(low, high))
            h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < h < height and 0 < w < width:
                top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
                random_fill = isinstance(self.value, str)
                fill = rng.standard_normal((h, w, channels), dtype=np.float32) if random_fill else self.value
                return top, left, h, w, fill
        return None

    def apply(self, images: Image, drawn: Sequence[Any]) -> Image:
        result = images.copy()
        for image, choice in zip(result, drawn, strict=True):
            if choice is not None:
                top, left, h, w, fill = choice
                image[top : top + h, left : left + w] = fill
        return result
