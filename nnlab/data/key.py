"""Random streams of the data room: pure functions of (seed, epoch, sample index)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nnlab.random import host_generator

_SAMPLE, _ORDER, _SPLIT = 1, 2, 3  # last counter: keeps these streams apart from each other and from weight draws (0)


class SampleKey(NamedTuple):
    """What a data set needs, besides the index, to make a sample.

    Fields:
        seed: the run's seed.
        epoch: number of the pass over the data.
        offset: added to the index (a :class:`ConcatDataset` gives each member the position where it starts).
    """

    seed: int
    epoch: int = 0
    offset: int = 0

    def rng(self, index: int) -> np.random.Generator:
        """The generator for the augmentation of sample ``index``."""
        return sample_rng(self.seed, self.epoch, self.offset + index)


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The generator for the augmentation of one sample in one epoch, whichever process loads it and whenever."""
    return host_generator(seed, epoch, int(index), _SAMPLE)


def order_rng(seed: int, epoch: int) -> np.random.Generator:
    """The generator for the order of the samples in one epoch."""
    return host_generator(seed, epoch, 0, _ORDER)


def split_rng(seed: int, part: int = 0) -> np.random.Generator:
    """The generator for splitting a data set (``part``: the class, for a split by class)."""
    return host_generator(seed, part, 0, _SPLIT)
