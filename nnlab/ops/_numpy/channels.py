"""Channels of an array (N, C, *spatial), each in as few runs of memory as its order has."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

from nnlab.backend import Backend
from nnlab.ops._numpy.layout import Order
from nnlab.ops._numpy.parallel import blocks_of

RUN = 1 << 12  # elements at most that are added up in the arrays' own precision


def rows(array: Any, order: Order | None) -> Any:
    """(runs, C, length): a view of an array in the order that ``layout.kept_order`` gave, else a copy.

    With channels last each position is a run of length 1.
    """
    if order is not None and order[-1] == 1:
        return array.transpose(order).reshape(-1, array.shape[1], 1)
    if order is not None:
        return array.transpose(order).reshape(1, array.shape[1], -1)
    return array.reshape(*array.shape[:2], prod(array.shape[2:]))


def blocks(be: Backend, rows: Any) -> list[tuple[int, int]]:
    """Ranges of channels on the CPU, one range on a GPU."""
    return blocks_of(be, rows.shape[1], rows.nbytes)


def total(be: Backend, rows: Any) -> Any:
    """Sum of each channel, (C,) float64."""
    return products(be, rows, None)


def products(be: Backend, a: Any, b: Any) -> Any:
    """Sum of a * b (without b: of a) of each channel, (C,) float64, without an array of the products.

    By the BLAS's inner products, which are several times as fast as other sums.
    """
    xp = be.xp
    length = a.shape[2]
    if length == 1:
        return (a if b is None else a * b).sum(axis=(0, 2), dtype=xp.float64)
    pieces = _pieces(length)
    if not pieces:
        whole, rest = slice(length - length % RUN), slice(length - length % RUN, None)
        return sum(products(be, a[..., part], None if b is None else b[..., part]) for part in (whole, rest))
    shape = (*a.shape[:2], pieces, length // pieces)
    if b is None:
        made = xp.matmul(a.reshape(shape), xp.ones(shape[3], a.dtype))
    else:
        made = xp.matmul(a.reshape(*shape[:3], 1, shape[3]), b.reshape(*shape, 1))[..., 0, 0]
    return made.sum(axis=(0, 2), dtype=xp.float64)


@lru_cache(maxsize=256)
def _pieces(length: int) -> int:
    """Into how many equal pieces of about RUN elements that many can be cut; 0: there is no such number."""
    least = max(-(-length // RUN), 1)
    return next((n for n in range(least, 2 * least) if length % n == 0), 0)
