"""Local response normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnlab.ops._cuda import local_response_norm as kernels
from tests.cuda import drawn
from tests.cuda.case import Case
from tests.cuda.far import FAR, FarCase
from tests.oracles import norm as oracle

SHAPES = [(2, 6, 4), (2, 1, 3), (1, 4, 2, 3), (0, 3, 2), (3, 5), (2, 9, 8)]


def _rows(oracle: Any, shape: tuple[int, ...], *arrays: Any, **options: Any) -> np.ndarray:
    """What an oracle over (N, C, P) gives for arrays of a shape."""
    rows = [a.reshape(*shape[:2], int(np.prod(shape[2:]))) for a in arrays]
    return oracle(*rows, **options).reshape(shape)


def both_passes(case: Case) -> None:
    for number, shape in enumerate([*SHAPES, *SHAPES]):
        size = int(case.random.integers(1, 9))
        o = {"size": size, "alpha": case.random.uniform(0.1, 2), "beta": case.random.choice([0.75, 1.5])}
        last = number >= len(SHAPES) and len(shape) > 2
        _both_passes(case, shape, float(case.random.choice([1.0, 2.0])), o, last)


def standard(case: Case) -> None:
    _both_passes(case, (2, 16, 6, 6), 2.0, {"size": 5, "alpha": 0.1, "beta": 0.75})
    x = case.normal(2, 16, 36)
    case.compare(kernels.channel_sum(case.be, x=case.put(x), below=2, above=2), 5, oracle.channel_sum, x, 2, 2)


def _both_passes(case: Case, shape: tuple[int, ...], k: float, o: dict[str, Any], last: bool = False) -> None:
    size = o["size"]
    x, dy = case.normal(*shape), case.normal(*shape)
    if last:
        x, dy = drawn.channels_last(x), drawn.channels_last(dy)
    y, s = kernels.forward(case.be, x=case.put(x), k=k, **o)
    case.compare(y, size + 2, _rows, oracle.local_response_norm, shape, x, k=k, **o)
    case.compare(s, size + 2, _rows, oracle.local_response_scale, shape, x, k=k, size=size, alpha=o["alpha"])
    dx = kernels.backward(case.be, dy=case.put(dy), x=case.put(x), s=s, **o)
    case.compare(dx, 2 * size + 4, _rows, oracle.local_response_norm_grad, shape, x, dy, k=k, **o)


def windows_wider_than_the_channels(case: Case) -> None:
    x, o = case.normal(2, 3, 2), {"size": 10**20, "alpha": 1e20, "beta": 0.75, "k": 1.0}
    y, _ = kernels.forward(case.be, x=case.put(x), **o)
    near = {**o, "size": 7, "alpha": 7.0}
    case.compare(y, 5, _rows, oracle.local_response_norm, x.shape, x, **near)


def channel_sums(case: Case) -> None:
    x = case.normal(2, 6, 3)
    for below, above in [(0, 0), (1, 0), (0, 2), (2, 1), (5, 5), (9, 3), (3, 9)]:
        for array in (x, drawn.channels_last(x)):
            y = kernels.channel_sum(case.be, x=case.put(array), below=below, above=above)
            case.compare(y, below + above + 1, oracle.channel_sum, x, below, above)


def half_squares_do_not_overflow(case: Case) -> None:
    x, o = case.host(np.full((1, 3, 2), 300.0)), {"size": 3, "alpha": 1.0, "beta": 0.5, "k": 1.0}
    y, _ = kernels.forward(case.be, x=case.put(x), **o)
    case.compare(y, 3, _rows, oracle.local_response_norm, x.shape, x, **o)


def far_channels(case: FarCase) -> None:
    """Three channels that lie 2**32 elements apart, seen from the first and from the last."""
    inner, o = FAR + 2, {"size": 5, "alpha": 0.5, "beta": 0.75}
    x, dy = case.sparse(1, 3, inner), case.sparse(1, 3, inner)
    x[..., :2], x[..., -2:] = case.normal(1, 3, 2), case.normal(1, 3, 2)
    dy[..., :2], dy[..., -2:] = case.normal(1, 3, 2), case.normal(1, 3, 2)
    s = case.be.xp.zeros(x.shape, "float32")
    for part in (np.s_[..., :2], np.s_[..., -2:]):
        s[part] = oracle.local_response_scale(x[part].astype(float), o["size"], o["alpha"], 2.0)
    for element, channel, part in ((0, 0, np.s_[..., :2]), (None, 2, np.s_[..., -2:])):
        case.be.element = element
        y, scale = kernels.forward(case.be, x=x, k=2.0, **o)
        at = (0, channel, part[-1])
        case.compare(y[at], 7, lambda a, at: _picked(oracle.local_response_norm(a, **o, k=2.0), at), x[part], at)
        case.compare(scale[at], 7, lambda a, at: _picked(a, at), s[part], at)
        dx = kernels.backward(case.be, dy=dy, x=x, s=s, **o)
        case.compare(
            dx[at], 14, lambda a, b, at: _picked(oracle.local_response_norm_grad(a, b, **o, k=2.0), at), x[part],
            dy[part], at,
        )  # fmt: skip
        total = kernels.channel_sum(case.be, x=x, below=2, above=2)
        case.compare(total[at], 3, lambda a, at: _picked(oracle.channel_sum(a, 2, 2), at), x[part], at)


def _picked(small: np.ndarray, at: Any) -> np.ndarray:
    """The channel of an array that holds the two elements alone."""
    return small[0, at[1]]


def far_images(case: FarCase) -> None:
    """Windows that hold more channels than 32 bits count, in the last of several images."""
    x = case.sparse(FAR + 1, 1, 2)
    x[-1] = case.normal(1, 2)
    y = kernels.channel_sum(case.be, x=x, below=1, above=1)
    case.compare(y[-1], 1, np.array, x[-1])


def far_numbers_of_channels(case: FarCase) -> None:
    """More channels than 32 bits count, seen from the first and near the last; windows of that many channels too."""
    x, all_channels = case.sparse(1, FAR + 2, 1), 10**20
    x[:, :8], x[:, -8:] = case.normal(1, 8, 1), case.normal(1, 8, 1)
    for below, above in ((1, 2), (all_channels, 1)):
        case.be.element = 0
        y = kernels.channel_sum(case.be, x=x, below=below, above=above)
        case.compare(y[:, :4], 6, _first, x[:, :8], below, above)
    for below, above in ((2, 1), (1, all_channels)):
        case.be.element = FAR - 1
        y = kernels.channel_sum(case.be, x=x, below=below, above=above)
        case.compare(y[:, -6:-2], 8, _last, x[:, -8:], below, above)


def _first(x: np.ndarray, below: int, above: int) -> np.ndarray:
    return oracle.channel_sum(x, below, above)[:, :4]


def _last(x: np.ndarray, below: int, above: int) -> np.ndarray:
    return oracle.channel_sum(x, below, above)[:, -6:-2]
