"""Bias and relu on arrays, in x's order."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops._numpy import channels, relu
from nnlab.ops._numpy.layout import empty, plane_order
from nnlab.ops._numpy.parallel import run
from nnlab.ops._numpy.precision import wide


def forward(be: Backend, *, x: Any, b: Any) -> Any:
    order = plane_order(x)
    y = empty(be, x.shape, x.dtype, order)
    rows, results = channels.rows(x, order), channels.rows(y, order)
    blocks = channels.blocks(be, rows)

    def work(number: int) -> None:
        part = slice(*blocks[number])
        result = results[:, part]
        be.xp.add(rows[:, part], b[part, None], out=result)
        relu.rectify(be, result, result)

    run(be, work, len(blocks), x.size * 2)
    return y


def backward(be: Backend, *, dy: Any, y: Any) -> tuple[Any, Any]:
    dx = relu.backward(be, dy=dy, y=y)
    db = channels.total(be, channels.rows(wide(be, dx), plane_order(dx)))
    return dx, db.astype(dx.dtype, copy=False)
