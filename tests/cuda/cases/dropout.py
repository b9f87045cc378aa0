"""Dropout."""

from __future__ import annotations

import numpy as np

from nnlab.ops._cuda import dropout as kernels
from tests.cuda import drawn
from tests.cuda.case import Case
from tests.cuda.far import FAR, FarCase
from tests.oracles import activation as oracle

SHAPES = [(), (1,), (3,), (4,), (5,), (0, 3), (2, 3, 5), (300,)]


def both_passes(case: Case) -> None:
    for shape in SHAPES:
        _both_passes(case, shape, float(case.random.choice([0.0, 0.1, 0.5, 0.9, 1.0])))
    for shape in [(2, 3, 5), (3, 40, 2, 7), (2, 2, 3, 2, 5)]:
        _both_passes(case, shape, float(case.random.choice([0.1, 0.5, 0.9])), last=True)


def standard(case: Case) -> None:
    for last in (False, True):
        _both_passes(case, (2, 8, 10, 10), 0.5, last)


def _both_passes(case: Case, shape: tuple[int, ...], p: float, last: bool = False) -> None:
    seed, offset = (int(n) for n in case.random.integers(0, 2**64, 2, "uint64"))
    x, dy = case.normal(*shape), case.normal(*shape)
    if last:
        x, dy = drawn.channels_last(x), drawn.channels_last(dy)
    y, saved = kernels.forward(case.be, x=case.put(x), p=p, seed=seed, offset=offset)
    case.compare(saved.mask, None, oracle.kept, shape, p, seed, offset)
    case.compare(y, 1, oracle.dropout, x, p, seed, offset)
    dx = kernels.backward(case.be, dy=case.put(dy), saved=saved)
    case.compare(dx, 1, oracle.dropout, dy, p, seed, offset)


def a_word_at_the_threshold_is_kept(case: Case) -> None:
    """Also those after it in its block, whatever their number."""
    words = [oracle.philox_word(3, 4, i) for i in range(7)]
    x = case.uniform(1, 2, 7)
    for word in words:
        y, _ = kernels.forward(case.be, x=case.put(x), p=word / 2**32, seed=3, offset=4)
        case.compare(y, 1, oracle.dropout, x, word / 2**32, 3, 4)
    words, x = [oracle.philox_word(3, 4, i) for i in range(6)], drawn.channels_last(case.uniform(1, 2, 1, 2, 3))
    for word in words:
        y, _ = kernels.forward(case.be, x=case.put(x), p=word / 2**32, seed=3, offset=4)
        case.compare(y, 1, oracle.dropout, x, word / 2**32, 3, 4)


def dropped_infinities_become_zero(case: Case) -> None:
    x = case.host([float("inf"), float("nan"), float("-inf")] * 20)
    y, saved = kernels.forward(case.be, x=case.put(x), p=0.5, seed=1, offset=2)
    case.compare(y, None, oracle.dropout, x, 0.5, 1, 2)
    case.compare(kernels.backward(case.be, dy=case.put(x), saved=saved), None, oracle.dropout, x, 0.5, 1, 2)


def far_elements(case: FarCase) -> None:
    """The number of a block of four words is beyond 32 bits; and with 32-bit indices, of which four times n is none."""
    for n in (4 * FAR + 3, 2**30 - 1):
        p, seed, offset = 0.5, 3, 4
        x, dy = case.sparse(n), case.sparse(n)
        x[-3:], dy[-3:] = case.normal(3), case.normal(3)
        keep = np.array([oracle.philox_word(seed, offset, i) >= p * 2**32 for i in range(n - 3, n)])
        y, saved = kernels.forward(case.be, x=x, p=p, seed=seed, offset=offset)
        case.compare(saved.mask[-3:], None, np.array, keep)
        case.compare(y[-3:], None, np.where, keep, x[-3:] * 2, 0)
        dx = kernels.backward(case.be, dy=dy, saved=saved)
        case.compare(dx[-3:], None, np.where, keep, dy[-3:] * 2, 0)


def far_channels(case: FarCase) -> None:
    """More channels than 32 bits count, last in memory, in the second of two images of three positions."""
    channels, p, seed, offset = FAR + 5, 0.5, 3, 4
    x = np.moveaxis(case.sparse(2, 3, channels), -1, 1)
    x[-1, -4:, -1] = case.normal(4)
    places = [(channels + c) * 3 + 2 for c in range(channels - 4, channels)]
    keep = np.array([oracle.philox_word(seed, offset, i) >= p * 2**32 for i in places])
    y, saved = kernels.forward(case.be, x=x, p=p, seed=seed, offset=offset)
    case.compare(saved.mask[-1, -4:, -1], None, np.array, keep)
    case.compare(y[-1, -4:, -1], None, np.where, keep, x[-1, -4:, -1] * 2, 0)


def far_positions(case: FarCase) -> None:
    """More positions than 32 bits count, of two channels that are last in memory."""
    positions, p, seed, offset = FAR + 5, 0.5, 3, 4
    x = np.moveaxis(case.sparse(1, positions, 2), -1, 1)
    x[0, :, -4:] = case.normal(2, 4)
    places = [[c * positions + q for q in range(positions - 4, positions)] for c in range(2)]
    keep = np.array([[oracle.philox_word(seed, offset, i) >= p * 2**32 for i in row] for row in places])
    y, saved = kernels.forward(case.be, x=x, p=p, seed=seed, offset=offset)
    case.compare(saved.mask[0, :, -4:], None, np.array, keep)
    case.compare(y[0, :, -4:], None, np.where, keep, x[0, :, -4:] * 2, 0)
