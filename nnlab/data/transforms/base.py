"""What a transform is.

Images are arrays (H, W, C), uint8 in 0..255 or float32 in 0..1 (any range after :class:`Normalize`). A transform is
called with an image and the sample's generator; a batch of images of one size with one generator each gives bit for bit
the same as image by image. The data set turns the result into (C, H, W) float32 at the very end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnlab.errors import DtypeError, ShapeError
from nnlab.random import default_generator

Image = NDArray[Any]
Rngs = Sequence[np.random.Generator]


def as_image(image: Any, where: str) -> Image:
    """An array or Pillow image as (…, H, W, C); a grey image (H, W) gets a channel axis.

    Raises:
        ShapeError, DtypeError: it is not an image.
    """
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim < 3 or array.shape[-1] not in (1, 3, 4):
        raise ShapeError(f"[{where}] 'image' must be (H, W) or (H, W, C) with 1, 3 or 4 channels, got {array.shape}")
    if array.dtype != np.uint8 and array.dtype != np.float32:
        raise DtypeError(f"[{where}] 'image' must be uint8 or float32, got {array.dtype}")
    return array


class Transform:
    """Base of transforms.

    A subclass defines :meth:`one` (one image) or :meth:`apply` (a batch). A random one also sets ``random = True`` and
    defines :meth:`draw`, which makes all random choices for one image.
    """

    random = False

    def draw(self, rng: np.random.Generator, shape: tuple[int, int, int]) -> Any:
        """The random choices for one image of ``shape`` (H, W, C)."""
        raise NotImplementedError(f"{type(self).__name__} must define draw")

    def one(self, image: Image, drawn: Any) -> Image:
        """One image (H, W, C) to its result."""
        raise NotImplementedError(f"{type(self).__name__} must define one or apply")

    def apply(self, images: Image, drawn: Sequence[Any]) -> Image:
        """Images (N, H, W, C) to their results, with what was drawn for each; leaves ``images`` as they are."""
        return np.stack([self.one(image, choice) for image, choice in zip(images, drawn, strict=True)])

    def __call__(self, image: Any, rng: np.random.Generator | None = None) -> Image:
        """Transform one image (H, W, C).

        Args:
            image: uint8 or float32 array (H, W, C) or (H, W), or a Pillow image.
            rng: where random choices come from. Default: the next draw of nnlab's default generator.
        """
        images = as_image(image, type(self).__name__)[None]
        if self.random and rng is None:
            rng = default_generator.numpy()
        return self.batch(images, None if rng is None else [rng])[0]

    def batch(self, images: Image, rngs: Rngs | None) -> Image:
        """Transform images of one size.

        Args:
            images: (N, H, W, C).
            rngs: one generator an image; may be None if the transform is not random.
        """
        if not self.random:
            return self.apply(images, [None] * len(images))
        if images.ndim != 4:
            raise ShapeError(
                f"[{type(self).__name__}] a random transform cannot follow one that makes several crops, "
                f"got images {images.shape}"
            )
        assert rngs is not None
        return self.apply(images, [self.draw(rng, images.shape[1:]) for rng in rngs])


class Compose(Transform):
    """Transforms one after another, each drawing from the same generator.

    Args:
        transforms: instances of :class:`Transform`, or functions of an image alone.
    """

    def __init__(self, transforms: Sequence[Transform | Callable[[Image], Image]]) -> None:
        self.transforms = [t if isinstance(t, Transform) else Lambda(t) for t in transforms]
        self.random = any(transform.random for transform in self.transforms)

    def batch(self, images: Image, rngs: Rngs | None) -> Image:
        for transform in self.transforms:
            images = transform.batch(images, rngs)
        return images

    def __repr__(self) -> str:
        return f"Compose({', '.join(type(transform).__name__ for transform in self.transforms)})"


class Lambda(Transform):
    """A function of one image (H, W, C) as a transform; worker processes need one that can be pickled."""

    def __init__(self, function: Callable[[Image], Image]) -> None:
        self.function = function

    def one(self, image: Image, drawn: Any) -> Image:
        return as_image(self.function(image), "Lambda")


def chance(rng: np.random.Generator, p: float) -> bool:
    """True with probability ``p``."""
    return bool(rng.random() < p)


def like(values: Image, reference: Image) -> Image:
    """Float values on the scale 0..1 back in the dtype of ``reference``: uint8 rounds and clips to 0..255."""
    if reference.dtype == np.uint8:
        return np.clip(np.rint(values * 255), 0, 255).astype(np.uint8)
    return values.astype(np.float32, copy=False)


def unit(images: Image) -> Image:
    """Images as float32; uint8 is divided by 255."""
    return images.astype(np.float32) / np.float32(255) if images.dtype == np.uint8 else images
