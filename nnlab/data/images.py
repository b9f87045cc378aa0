"""Data sets of labelled images."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nnlab.data.dataset import Dataset
from nnlab.data.key import SampleKey, split_rng
from nnlab.data.transforms.base import Transform, unit
from nnlab.errors import ArgumentError, DataError, ShapeError, complaint

Statistics = tuple[tuple[float, ...], tuple[float, ...]]  # mean and standard deviation of each channel

_STATISTICS_IMAGES = 2000


def finish(images: NDArray[Any]) -> NDArray[Any]:
    """What every image data set does last: (…, H, W, C), uint8 or float32, to float32 (…, C, H, W)."""
    return np.ascontiguousarray(np.moveaxis(unit(images), -1, -3), dtype=np.float32)


class ImageDataset(Dataset):
    """Base of data sets of labelled images.

    A sample is ``(image, label)``: the image after ``transform`` as float32 (C, H, W), and an int. Without a transform
    it is the image on the scale 0..1. The transform's random choices are a function of (seed, epoch, index).

    Args:
        targets: (N,) labels, each an index into ``classes``.
        classes: names of the classes.
        transform: see :mod:`nnlab.data.transforms`.
        mean, std: of each channel over the training images on the scale 0..1, if known.

    Attributes:
        targets: int64 (N,). classes: list of str. class_to_idx: dict. channels: number of channels of an image.
    """

    channels: int

    def __init__(
        self,
        targets: Any,
        classes: Sequence[str],
        *,
        transform: Transform | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        self.targets = np.asarray(targets, dtype=np.int64)
        self.classes = list(classes)
        self.transform = transform
        if self.targets.size and not 0 <= self.targets.min() <= self.targets.max() < len(self.classes):
            wrong = self.targets[(self.targets < 0) | (self.targets >= len(self.classes))][0]
            raise DataError(complaint(type(self).__name__, "targets", f"be in 0..{len(self.classes) - 1}", int(wrong)))
        self._known_statistics = None if mean is None or std is None else (tuple(mean), tuple(std))
        self._computed_statistics: Statistics | None = None
        self._training: ImageDataset | None = None

    @property
    def class_to_idx(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.classes)}

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of each channel on the scale 0..1; if not known, :func:`channel_statistics` of up to 2000 images."""
        return self._statistics()[0]

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of each channel on the scale 0..1, as :attr:`mean`."""
        return self._statistics()[1]

    def _statistics(self) -> Statistics:
        if self._known_statistics is not None:
            return self._known_statistics
        if self._training is not None:
            return self._training._statistics()
        if self._computed_statistics is None:
            self._computed_statistics = channel_statistics(self, limit=_STATISTICS_IMAGES)
        return self._computed_statistics

    def statistics_from(self, training: ImageDataset) -> None:
        """Take ``mean`` and ``std`` from the training part, when they are asked for."""
        self._training = training

    def image(self, index: int) -> NDArray[np.uint8]:
        """Image ``index`` before any transform: uint8 (H, W, C)."""
        raise NotImplementedError(f"{type(self).__name__} must define image")

    def select(self, indices: Sequence[int]) -> Self:
        """A data set of the same kind with some of the samples; sample i of it augments as its own number i."""
        part = copy.copy(self)
        part.targets = self.targets[np.asarray(indices, dtype=np.int64)]
        part._computed_statistics = None
        return part

    def with_transform(self, transform: Transform | None) -> Self:
        """The same samples under another transform."""
        other = copy.copy(self)
        other.transform = transform
        return other

    def __len__(self) -> int:
        return len(self.targets)

    def sample(self, index: int, key: SampleKey) -> tuple[NDArray[np.float32], int]:
        image = self.image(index)
        if self.transform is not None:
            image = self.transform(image, key.rng(index % len(self)) if self.transform.random else None)
        return finish(image), int(self.targets[index])


class ArrayImages(ImageDataset):
    """Images of one size held in memory; whole batches are transformed at once.

    Args:
        images: uint8 (N, H, W) or (N, H, W, C).
        targets, classes, transform, mean, std: as in :class:`ImageDataset`.
    """

    def __init__(self, images: NDArray[np.uint8], targets: Any, classes: Sequence[str], **options: Any) -> None:
        super().__init__(targets, classes, **options)
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or len(images) != len(self.targets):
            must = f"be uint8 ({len(self.targets)}, H, W) or ({len(self.targets)}, H, W, C)"
            raise ShapeError(complaint("ArrayImages", "images", must, (images.dtype.name, images.shape)))
        self.data = images[..., None] if images.ndim == 3 else images
        self.channels = self.data.shape[-1]

    def image(self, index: int) -> NDArray[np.uint8]:
        return self.data[index]

    def select(self, indices: Sequence[int]) -> Self:
        part = super().select(indices)
        part.data = self.data[np.asarray(indices, dtype=np.int64)]
        return part

    def batch(self, indices: Sequence[int], key: SampleKey) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        images = self.data[np.asarray(indices)]
        if self.transform is not None:
            size = len(self)
            rngs = [key.rng(index % size) for index in indices] if self.transform.random else None
            images = self.transform.batch(images, rngs)
        return finish(images), self.targets[np.asarray(indices)]


def channel_statistics(dataset: ImageDataset, limit: int | None = None) -> Statistics:
    """Mean and standard deviation of each channel over all pixels, on the scale 0..1, without any transform.

    Args:
        dataset: images of any sizes with one number of channels.
        limit: look at this many images at most, spread evenly over the data set. Default: all.

    Returns:
        mean (C,), std (C,). Sums are exact integers, so the result does not depend on their order.
    """
    count = len(dataset) if limit is None else min(limit, len(dataset))
    if count == 0:
        raise ArgumentError(complaint("channel_statistics", "dataset", "hold an image", 0))
    pixels = 0
    total, squares = np.zeros(dataset.channels, np.int64), np.zeros(dataset.channels, np.int64)
    for i in range(count):
        image = dataset.image(i * len(dataset) // count).astype(np.int64).reshape(-1, dataset.channels)
        pixels += len(image)
        total += image.sum(axis=0)
        squares += (image * image).sum(axis=0)
    mean = total / pixels
    variance = np.maximum(squares / pixels - mean**2, 0)
    return tuple((mean / 255).tolist()), tuple((np.sqrt(variance) / 255).tolist())


def stratified_split(targets: NDArray[Any], fraction: float, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Indices of two parts, in ascending order; of each class, the share ``fraction`` (rounded) is in the second.

    The split is a function of (targets, fraction, seed). A class of at least two samples is in both parts.
    """
    if not 0 < fraction < 1:
        raise ArgumentError(complaint("stratified_split", "fraction", "be between 0 and 1", fraction))
    second = np.zeros(len(targets), dtype=bool)
    for label in np.unique(targets):
        members = np.flatnonzero(targets == label)
        take = min(max(round(len(members) * fraction), 1), len(members) - 1)
        second[split_rng(seed, int(label)).permutation(members)[:take]] = True
    return np.flatnonzero(~second), np.flatnonzero(second)
