"""Inputs of a problem: drawn on the host, rounded to a dtype, copied for each side."""

from __future__ import annotations

from math import prod
from typing import Any, cast

import numpy as np

from nnlab import types
from nnlab.bench.problem import Problem

SETS_OF_INPUTS = 2  # inputs take turns, so that no side finds its own in a cache
BLOCK = (1 << 22) - 3  # numbers that are drawn for a GPU's large arrays; odd, so that no row or channel repeats another


class _Repeating:
    """What problems ask of a generator, by repeating a block: drawing for a GPU takes longer than computing there."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random

    def standard_normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.resize(self._random.standard_normal(min(prod(shape), BLOCK), np.float32), shape)

    def uniform(self, low: float, high: float, shape: int | tuple[int, ...]) -> np.ndarray:
        count = shape if isinstance(shape, int) else prod(shape)
        block = self._random.random(min(count, BLOCK), np.float32)
        return np.resize(block * np.float32(high - low) + np.float32(low), shape)

    def integers(self, low: int, high: int, shape: int | tuple[int, ...]) -> np.ndarray:
        return self._random.integers(low, high, shape)


def drawn(be: Any, problem: Problem, number: int, dtype: str) -> list[dict[str, Any]]:
    """Sets of arrays of the device; bfloat16 is float32 that has been rounded (see :func:`given`)."""
    sets = []
    for i in range(SETS_OF_INPUTS):
        random = np.random.default_rng([number, i])
        source = random if be.host_memory else cast(np.random.Generator, _Repeating(random))
        sets.append({name: rounded(be, be.asarray(host), dtype) for name, host in problem.draw(source).items()})
    return sets


def rounded(be: Any, array: Any, dtype: str) -> Any:
    """Floating arrays in a dtype; for bfloat16 in float32, so that nobody needs a library for it."""
    if array.dtype.kind != "f":
        return array
    if dtype != "bfloat16":
        return array.astype(dtype, copy=False)
    xp = be.xp
    bits = array.astype("float32").view(xp.uint32)
    odd = (bits >> xp.uint32(16)) & xp.uint32(1)
    return ((bits + xp.uint32(0x7FFF) + odd) & xp.uint32(0xFFFF0000)).view(xp.float32)


def given(array: Any, dtype: str) -> Any:
    """A copy that nnlab may write into.

    Raises:
        MissingExtraError: bfloat16 without its library.
    """
    if dtype == "bfloat16" and array.dtype.kind == "f":
        return array.astype(types.as_dtype(dtype))
    return array.copy()


def itemsize(dtype: str) -> int:
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
