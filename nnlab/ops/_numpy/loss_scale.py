"""Dynamic loss scaling in array code. See ops/loss_scale.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from nnlab.backend import Backend

LARGEST = float(np.finfo(np.float32).max)


def all_of(be: Backend, *, flags: list[Any]) -> Any:
    result = flags[0]
    for flag in flags[1:]:
        result = be.xp.logical_and(result, flag)
    return result


def mark(be: Backend, *, skip: Any, finite: Any) -> None:
    skip[:1] = be.xp.logical_not(finite)


def count(be: Backend, *, skip: Any) -> None:
    skip[1:] += skip[:1]


def update(
    be: Backend,
    *,
    scale: Any,
    tracker: Any,
    finite: Any,
    growth_factor: float,
    backoff_factor: float,
    growth_interval: int,
) -> None:
    xp = be.xp
    steps = xp.where(finite, tracker + 1, 0)
    full = steps == growth_interval
    grown = scale * growth_factor
    scale[...] = xp.where(finite, xp.where(full & (grown <= LARGEST), grown, scale), scale * backoff_factor)
    tracker[...] = xp.where(full, 0, steps)


@contextmanager
def skipping(be: Backend, skip: Any, arrays: Sequence[Any]) -> Iterator[None]:
    """Context of a step in array code, whose changes of the arrays are taken back if skip[0]."""
    if skip is None:
        yield
        return
    before = [array.copy() for array in arrays]
    with be.quiet():  # what overflowed is computed with, too
        yield
    for array, old in zip(arrays, before, strict=True):
        array[...] = be.xp.where(skip[0] != 0, old, array)
