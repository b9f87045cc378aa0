"""Map-style data sets: a length, and a sample for each index."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnlab.autograd import Tensor
from nnlab.autograd.creation import from_numpy
from nnlab.data.collate import stack
from nnlab.data.key import SampleKey, split_rng
from nnlab.errors import ArgumentError, ShapeError, complaint
from nnlab.random import default_generator


class Dataset:
    """Base of data sets.

    A data set defines ``__len__`` and ``__getitem__``. One with random augmentation defines :meth:`sample` instead of
    drawing from hidden state, so that neither the number of workers nor a resume changes anything; one that can make
    a whole batch faster than sample by sample also defines :meth:`batch`.
    """

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__")

    def __getitem__(self, index: int) -> Any:
        """Sample ``index`` as in epoch 0 under the seed of ``nnlab.manual_seed``."""
        if type(self).sample is Dataset.sample:
            raise NotImplementedError(f"{type(self).__name__} must define __getitem__ or sample")
        return self.sample(index, SampleKey(default_generator.seed))

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def __add__(self, other: Dataset) -> ConcatDataset:
        return ConcatDataset([self, other])

    def sample(self, index: int, key: SampleKey) -> Any:
        """Sample ``index``; random choices come from ``key.rng(index)``."""
        return self[index]

    def batch(self, indices: Sequence[int], key: SampleKey) -> Any:
        """The samples of ``indices`` as one batch of NumPy arrays; equal to stacking :meth:`sample`."""
        return stack([self.sample(index, key) for index in indices])


class SequenceDataset(Dataset):
    """Anything with a length and an index (a list, say) as a data set."""

    def __init__(self, sequence: Any) -> None:
        self.sequence = sequence

    def __len__(self) -> int:
        return len(self.sequence)

    def __getitem__(self, index: int) -> Any:
        return self.sequence[index]


def as_dataset(source: Any) -> Dataset:
    """``source`` itself if it is a :class:`Dataset`, else wrapped as one."""
    return source if isinstance(source, Dataset) else SequenceDataset(source)


class ArrayDataset(Dataset):
    """NumPy arrays of equal length; a sample is the tuple of their rows.

    Args:
        arrays: each (N, …).

    Raises:
        ShapeError: the lengths differ.
    """

    def __init__(self, *arrays: NDArray[Any]) -> None:
        if not arrays:
            raise ArgumentError(complaint(type(self).__name__, "arrays", "name at least one array", arrays))
        self.arrays = tuple(np.asarray(array) for array in arrays)
        lengths = [len(array) if array.ndim else 0 for array in self.arrays]
        if len(set(lengths)) > 1:
            raise ShapeError(complaint(type(self).__name__, "arrays", "have one length", tuple(lengths)))

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return tuple(array[index] for array in self.arrays)

    def batch(self, indices: Sequence[int], key: SampleKey) -> tuple[NDArray[Any], ...]:
        return tuple(array[np.asarray(indices)] for array in self.arrays)


class TensorDataset(ArrayDataset):
    """As :class:`ArrayDataset`, from Tensors: a sample is a tuple of Tensors.

    Args:
        tensors: each (N, …); kept in host memory.
    """

    def __init__(self, *tensors: Tensor) -> None:
        super().__init__(*(tensor.detach().cpu().numpy() for tensor in tensors))

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(from_numpy(np.asarray(array[index])) for array in self.arrays)


class Subset(Dataset):
    """Part of a data set, in the order of ``indices``. Augmentation stays that of the whole set's indices."""

    def __init__(self, dataset: Any, indices: Sequence[int] | NDArray[np.int64]) -> None:
        self.dataset = as_dataset(dataset)
        self.indices = np.asarray(indices, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    def sample(self, index: int, key: SampleKey) -> Any:
        return self.dataset.sample(int(self.indices[index]), key)

    def batch(self, indices: Sequence[int], key: SampleKey) -> Any:
        return self.dataset.batch(self.indices[np.asarray(indices)].tolist(), key)


class ConcatDataset(Dataset):
    """Data sets one after another."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = [as_dataset(dataset) for dataset in datasets]
        if not self.datasets:
            raise ArgumentError(complaint("ConcatDataset", "datasets", "name at least one data set", self.datasets))
        self.cumulative_sizes = list(accumulate(len(dataset) for dataset in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def _locate(self, index: int) -> tuple[int, int]:
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"[ConcatDataset] index must be in -{len(self)}..{len(self) - 1}, got {index}")
        member = bisect_right(self.cumulative_sizes, position)
        return member, self.cumulative_sizes[member - 1] if member else 0

    def sample(self, index: int, key: SampleKey) -> Any:
        member, start = self._locate(index)
        inner = (index + len(self) if index < 0 else index) - start
        return self.datasets[member].sample(inner, key._replace(offset=key.offset + start))


def random_split(dataset: Dataset, lengths: Sequence[int | float], seed: int = 0) -> list[Subset]:
    """Split a data set at random into parts that do not overlap.

    Args:
        lengths: numbers of samples that add up to ``len(dataset)``, or fractions that add up to 1 (a fraction gives
            ``floor(fraction * N)`` samples, the rest goes to the first parts, one each).
        seed: the split is a function of it.

    Raises:
        ArgumentError: the lengths do not add up.
    """
    total = len(dataset)
    if any(isinstance(length, float) for length in lengths) and abs(sum(lengths) - 1) < 1e-6:
        counts = [int(total * length) for length in lengths]
        for i in range(total - sum(counts)):
            counts[i % len(counts)] += 1
    else:
        counts = [int(length) for length in lengths]
    if any(count < 0 for count in counts) or sum(counts) != total:
        raise ArgumentError(complaint("random_split", "lengths", f"add up to {total} or to 1.0", list(lengths)))
    order = split_rng(seed).permutation(total)
    ends = list(accumulate(counts))
    return [Subset(dataset, order[end - count : end]) for count, end in zip(counts, ends, strict=True)]
