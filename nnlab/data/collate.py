"""Many samples to one batch: NumPy arrays first, Tensors at the very end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nnlab.autograd import Tensor
from nnlab.autograd.creation import from_numpy
from nnlab.errors import DataError, ShapeError


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """``function`` applied to everything in a tree that is not a dict, list or tuple; containers keep their type."""
    if isinstance(tree, Mapping):
        return {name: map_leaves(function, value) for name, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(map_leaves(function, value) for value in tree))
    if isinstance(tree, list | tuple):
        return type(tree)(map_leaves(function, value) for value in tree)
    return function(tree)


def to_arrays(tree: Any) -> Any:
    """Tensors of a tree as NumPy arrays."""
    return map_leaves(lambda leaf: leaf.detach().cpu().numpy() if isinstance(leaf, Tensor) else leaf, tree)


def to_tensors(tree: Any) -> Any:
    """NumPy arrays of a tree as CPU Tensors that share their memory."""
    return map_leaves(lambda leaf: from_numpy(leaf) if isinstance(leaf, np.ndarray) else leaf, tree)


def stack(samples: Sequence[Any]) -> Any:
    """One batch of NumPy arrays from a list of samples.

    Arrays (…) and Tensors become (N, …), numbers become (N,) (Python int: int64, float: float64, bool: bool), strings
    and bytes a list, tuples, lists and dicts are stacked entry by entry and keep their type.

    Raises:
        ShapeError: two samples of the batch differ in shape.
        DataError: samples of different structure, or of a type that cannot be stacked.
    """
    first = samples[0]
    if isinstance(first, Tensor):
        return stack([to_arrays(sample) for sample in samples])
    if isinstance(first, np.ndarray):
        return _stack_arrays(samples)
    if isinstance(first, bool | int | float | np.generic):
        return np.asarray(samples)
    if isinstance(first, str | bytes):
        return list(samples)
    if isinstance(first, Mapping):
        return {name: stack([sample[name] for sample in samples]) for name in first}
    if isinstance(first, list | tuple):
        if any(len(sample) != len(first) for sample in samples):
            raise DataError(f"[collate] samples must have one length, got {sorted({len(s) for s in samples})}")
        columns = [stack([sample[i] for sample in samples]) for i in range(len(first))]
        return type(first)(*columns) if hasattr(first, "_fields") else type(first)(columns)
    raise DataError(
        "[collate] samples must be made of arrays, Tensors, numbers, strings, tuples, lists and dicts, "
        f"got {type(first).__name__}"
    )


def _stack_arrays(arrays: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    for position, array in enumerate(arrays):
        if array.shape != arrays[0].shape:
            raise ShapeError(
                f"[collate] arrays of one batch must have one shape, got {arrays[0].shape} (sample 0 of the batch) "
                f"and {array.shape} (sample {position}); for images of different sizes add a Resize or a crop"
            )
    return np.stack(arrays)


def default_collate(batch: Sequence[Any]) -> Any:
    """One batch of Tensors from a list of samples, by the rules of :func:`stack`."""
    return to_tensors(stack(batch))
