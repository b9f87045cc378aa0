"""Local response normalisation on arrays, in x's order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnlab import types
from nnlab.backend import Backend
from nnlab.ops._numpy import channels
from nnlab.ops._numpy.layout import empty, plane_order
from nnlab.ops._numpy.parallel import blocks_of, run
from nnlab.ops._numpy.precision import wide


def _sums(rows: Any, below: int, above: int) -> Any:
    """Of neighbouring channels of (runs, C, length)."""
    count = rows.shape[1]
    total = rows.copy()
    for shift in range(1, min(below, count - 1) + 1):
        total[:, shift:] += rows[:, :-shift]
    for shift in range(1, min(above, count - 1) + 1):
        total[:, :-shift] += rows[:, shift:]
    return total


def _in_blocks(be: Backend, task: Callable[..., None], arrays: list[Any], work: int) -> None:
    """Call the task on blocks of arrays (runs, C, length), each of all channels: of some runs (images, in row-major
    order), or of part of the length."""
    axis = 0 if len(arrays[0]) > 1 else 2
    size = arrays[0].shape[axis]
    blocks = blocks_of(be, size, arrays[0].nbytes)

    def block(number: int) -> None:
        part = slice(*blocks[number])
        task(*[array[part] if axis == 0 else array[:, :, part] for array in arrays])

    run(be, block, len(blocks), work)


def channel_sum(be: Backend, *, x: Any, below: int, above: int) -> Any:
    order = plane_order(x)
    y = empty(be, x.shape, x.dtype, order)

    def task(out: Any, part: Any) -> None:
        out[...] = _sums(part, below, above)

    _in_blocks(be, task, [channels.rows(a, order) for a in (y, wide(be, x))], x.size * (1 + below + above))
    return y


def forward(be: Backend, *, x: Any, size: int, alpha: float, beta: float, k: float) -> tuple[Any, Any]:
    order = plane_order(x)
    wide_x = wide(be, x)
    y, s = empty(be, x.shape, x.dtype, order), empty(be, x.shape, wide_x.dtype, order)
    number = wide_x.dtype.type

    def task(out: Any, total: Any, part: Any) -> None:
        total[...] = _sums(part * part, size // 2, (size - 1) // 2)
        total *= number(alpha / size)
        total += number(k)
        out[...] = part * total ** number(-beta)

    _in_blocks(be, task, [channels.rows(a, order) for a in (y, s, wide_x)], x.size * 16)
    return y, s


def backward(be: Backend, *, dy: Any, x: Any, s: Any, size: int, alpha: float, beta: float) -> Any:
    order = plane_order(x)
    dx = empty(be, x.shape, x.dtype, order)
    number = types.wide(x.dtype).type
    factor = number(2 * alpha * beta / size)

    def task(out: Any, grad: Any, part: Any, total: Any) -> None:
        direct = grad * total ** number(-beta)
        across = _sums(direct * part / total, (size - 1) // 2, size // 2)
        out[...] = direct - factor * part * across

    _in_blocks(be, task, [channels.rows(a, order) for a in (dx, wide(be, dy), wide(be, x), s)], x.size * 16)
    return dx
