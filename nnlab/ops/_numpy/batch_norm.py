"""Batch normalisation on arrays, some channels at a time on the CPU."""

from __future__ import annotations

from math import prod
from typing import Any

from nnlab.backend import Backend
from nnlab.ops._numpy.parallel import plane_blocks, run
from nnlab.ops._numpy.precision import wide
from nnlab.ops.batch_norm import Saved


def _rows(be: Backend, array: Any) -> Any:
    """(N, C, P), at least float32."""
    return wide(be, array).reshape(*array.shape[:2], prod(array.shape[2:]))


def _total(be: Backend, rows: Any) -> Any:
    """Sum for each channel: pairwise along positions, then images in double precision; (C,) float64."""
    return rows.sum(axis=2).sum(axis=0, dtype=be.xp.float64)


def _products(be: Backend, a: Any, b: Any) -> Any:
    """Sum of a * b for each channel, as ``_total``, without an array of the products."""
    return be.xp.einsum("ncp,ncp->nc", a, b).sum(axis=0, dtype=be.xp.float64)


def _column(vector: Any, part: slice, dtype: Any) -> Any:
    return vector[part].astype(dtype)[:, None]


def forward(be: Backend, *, x: Any, weight: Any, bias: Any, eps: float) -> tuple[Any, Saved]:
    xp = be.xp
    rows = _rows(be, x)
    images, channels, positions = rows.shape
    count = images * positions
    y = xp.empty(rows.shape, x.dtype)
    mean, rstd, var = (xp.empty(channels, rows.dtype) for _ in range(3))
    blocks = plane_blocks(be, channels, count * rows.dtype.itemsize)

    def work(number: int) -> None:
        part = slice(*blocks[number])
        block = rows[:, part]
        mean[part] = _total(be, block) / count
        offset = block - mean[part][:, None]
        # What rounding left in the mean is taken out of the variance and the offsets are corrected by it.
        left = _total(be, offset) / count
        square = _products(be, offset, offset) / count - left * left
        var[part] = square
        rstd[part] = factor = 1 / xp.sqrt(square + eps)
        mean[part] += left.astype(rows.dtype)
        scale = factor if weight is None else factor * weight[part]
        shift = -left * scale if bias is None else bias[part] - left * scale
        offset *= scale[:, None].astype(rows.dtype)
        xp.add(offset, shift[:, None].astype(rows.dtype), out=y[:, part], casting="same_kind")

    run(be, work, len(blocks), x.size * 8)
    return y.reshape(x.shape), Saved(mean, rstd, var)


def backward(be: Backend, *, dy: Any, x: Any, weight: Any, saved: Saved) -> tuple[Any, Any, Any]:
    xp = be.xp
    rows, grads = _rows(be, x), _rows(be, dy)
    images, channels, positions = rows.shape
    count = images * positions
    dx = xp.empty(rows.shape, x.dtype)
    dweight, dbias = xp.empty(channels, x.dtype), xp.empty(channels, x.dtype)
    blocks = plane_blocks(be, channels, count * rows.dtype.itemsize)

    def work(number: int) -> None:
        part = slice(*blocks[number])
        grad, rstd = grads[:, part], saved.rstd[part]
        offset = rows[:, part] - saved.mean[part][:, None]
        sum_dy, sum_dy_xhat = _total(be, grad), _products(be, grad, offset) * rstd
        dbias[part], dweight[part] = sum_dy, sum_dy_xhat
        offset *= (rstd * sum_dy_xhat / count)[:, None].astype(rows.dtype)
        offset += (sum_dy / count)[:, None].astype(rows.dtype)
        xp.subtract(grad, offset, out=offset)
        factor = rstd[:, None] if weight is None else rstd[:, None] * _column(weight, part, rows.dtype)
        xp.multiply(offset, factor, out=dx[:, part], casting="same_kind")

    run(be, work, len(blocks), x.size * 8)
    return dx.reshape(x.shape), dweight, dbias


def evaluate(be: Backend, *, x: Any, mean: Any, var: Any, weight: Any, bias: Any, eps: float) -> Any:
    xp = be.xp
    shape = (-1, *[1] * (x.ndim - 2))
    wide_x = wide(be, x)
    factor = 1 / xp.sqrt(var.astype(xp.float64) + eps)
    if weight is not None:
        factor = factor * weight
    y = wide_x - mean.astype(wide_x.dtype).reshape(shape)
    y *= factor.astype(wide_x.dtype).reshape(shape)
    if bias is not None:
        y += bias.astype(wide_x.dtype).reshape(shape)
    return y.astype(x.dtype, copy=False)
