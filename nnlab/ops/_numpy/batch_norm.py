"""Batch normalisation on arrays, some channels at a time on the CPU, in x's order."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops._numpy import channels
from nnlab.ops._numpy.layout import empty, kept_order
from nnlab.ops._numpy.mask import keep_passed
from nnlab.ops._numpy.parallel import run, scratch
from nnlab.ops._numpy.precision import wide
from nnlab.ops._numpy.relu import rectify
from nnlab.ops.batch_norm import Saved


def _target(be: Backend, result: Any, rows: Any) -> Any:
    """Where a block of the result is computed: the result itself, or for half precision memory of the rows' dtype."""
    return result if result.dtype == rows.dtype else scratch(be, "batch_norm", rows.shape, rows.dtype)


def _column(vector: Any, dtype: Any) -> Any:
    return vector.astype(dtype, copy=False)[:, None]


def _eighth(rows: Any) -> Any:
    """At least an eighth of the elements of each channel."""
    if len(rows) > 1:
        return rows[: -(-len(rows) // 8)]
    return rows[:, :, : -(-rows.shape[2] // 8)]


def forward(be: Backend, *, x: Any, weight: Any, bias: Any, eps: float, relu: bool) -> tuple[Any, Saved]:
    xp = be.xp
    order = kept_order(be, x)
    y = empty(be, x.shape, x.dtype, order)
    rows, results = channels.rows(wide(be, x), order), channels.rows(y, order)
    count, dtype = x.size // max(x.shape[1], 1), rows.dtype
    mean, rstd, var = (xp.empty(x.shape[1], dtype) for _ in range(3))
    blocks = channels.blocks(be, rows)

    def work(number: int) -> None:
        part = slice(*blocks[number])
        block, result = rows[:, part], results[:, part]
        # A mean of some elements is near enough that x * x - mean * mean loses nothing.
        some = _eighth(block)
        pivot = channels.total(be, some) / (some.size / some.shape[1])
        offset = _target(be, result, block)
        xp.subtract(block, _column(pivot, dtype), out=offset)
        left = channels.total(be, offset) / count
        square = channels.products(be, offset, offset) / count - left * left
        mean[part], var[part] = pivot.astype(dtype) + left, square
        rstd[part] = factor = 1 / xp.sqrt(square + eps)
        scale = factor if weight is None else factor * weight[part]
        shift = -left * scale if bias is None else bias[part] - left * scale
        offset *= _column(scale, dtype)
        xp.add(offset, _column(shift, dtype), out=result, casting="same_kind")
        if relu:
            rectify(be, result, result)

    run(be, work, len(blocks), x.size * 8)
    return y, Saved(mean, rstd, var)


def backward(be: Backend, *, dy: Any, x: Any, weight: Any, saved: Saved, y: Any) -> tuple[Any, Any, Any]:
    xp = be.xp
    order = kept_order(be, x)
    dx = empty(be, x.shape, x.dtype, order)
    rows, grads = (channels.rows(wide(be, array), order) for array in (x, dy))
    results, passed = channels.rows(dx, order), None if y is None else channels.rows(y, order)
    count, dtype = x.size // max(x.shape[1], 1), rows.dtype
    dweight, dbias = xp.empty((2, x.shape[1]), x.dtype if weight is None else weight.dtype)
    blocks = channels.blocks(be, rows)

    def work(number: int) -> None:
        part = slice(*blocks[number])
        grad, rstd, result = grads[:, part], saved.rstd[part], results[:, part]
        if passed is not None:
            kept = scratch(be, "batch_norm_kept", grad.shape, dtype)
            keep_passed(be, grad, passed[:, part], kept)
            grad = kept
        offset = _target(be, result, grad)
        xp.subtract(rows[:, part], saved.mean[part][:, None], out=offset)
        sum_dy, sum_dy_xhat = channels.total(be, grad), channels.products(be, grad, offset) * rstd
        dbias[part], dweight[part] = sum_dy, sum_dy_xhat
        offset *= _column(rstd * sum_dy_xhat / count, dtype)
        offset += _column(sum_dy / count, dtype)
        xp.subtract(grad, offset, out=offset)
        factor = rstd if weight is None else rstd * weight[part]
        xp.multiply(offset, _column(factor, dtype), out=result, casting="same_kind")

    run(be, work, len(blocks), x.size * 8)
    return dx, dweight, dbias


def evaluate(be: Backend, *, x: Any, mean: Any, var: Any, weight: Any, bias: Any, eps: float) -> Any:
    xp = be.xp
    order = kept_order(be, x)
    y = empty(be, x.shape, x.dtype, order)
    rows, results = channels.rows(wide(be, x), order), channels.rows(y, order)
    dtype = rows.dtype
    factor = 1 / xp.sqrt(var.astype(xp.float64) + eps)
    if weight is not None:
        factor = factor * weight
    blocks = channels.blocks(be, rows)

    def work(number: int) -> None:
        part = slice(*blocks[number])
        result = results[:, part]
        offset = _target(be, result, rows[:, part])
        xp.subtract(rows[:, part], _column(mean[part], dtype), out=offset)
        xp.multiply(
            offset, _column(factor[part], dtype), out=offset if bias is not None else result, casting="same_kind"
        )
        if bias is not None:
            xp.add(offset, _column(bias[part], dtype), out=result, casting="same_kind")

    run(be, work, len(blocks), x.size * 4)
    return y
