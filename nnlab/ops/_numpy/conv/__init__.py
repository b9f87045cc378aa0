"""Convolution as array code: ``plan`` chooses among the ways ``rows``, ``unfold``, ``stride``, ``tiles``, ``winograd``.

Winograd's transforms and spaced rows multiply neighbours by zero, which spreads what is not finite. So a result that is
not finite is computed again from windows (``Plan.windows``), and infinities and NaN reach exactly the outputs that they
reach in the definition. docs/math/conv.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnlab.backend import Backend
from nnlab.geometry import ConvGeometry
from nnlab.ops._numpy import channels, layout
from nnlab.ops._numpy.conv import rows, stride, tiles, unfold, winograd
from nnlab.ops._numpy.conv.plan import UNFOLDED, Plan, choose
from nnlab.ops._numpy.parallel import cut, run
from nnlab.ops._numpy.precision import wide
from nnlab.precision import get_float32_conv_precision

DIRECT: dict[str, Any] = {"unfold": unfold, "rows": rows, "stride": stride}  # ways whose passes take a geometry
TILES: dict[str, Any] = {"winograd": winograd, "tiles": tiles}


def _plan(be: Backend, g: ConvGeometry, dtype: Any) -> Plan:
    return choose(g, np.dtype(dtype), get_float32_conv_precision()) if be.host_memory else UNFOLDED


def _is_finite(be: Backend, array: Any) -> bool:
    """A sum is finite only if all numbers are; one that overflows costs a second computation, no more."""
    flat = layout.runs(be, array)[0]
    parts = cut(flat.size, 1 << 18)
    sums = np.empty(len(parts), array.dtype)

    def work(index: int) -> None:
        sums[index] = flat[slice(*parts[index])].sum()

    run(be, work, len(parts), flat.size)
    return bool(np.isfinite(sums).all())


def forward(be: Backend, *, x: Any, w: Any, b: Any, geometry: ConvGeometry) -> Any:
    wide_x, wide_w, wide_b = wide(be, x), wide(be, w), None if b is None else wide(be, b)
    plan = _plan(be, geometry, wide_x.dtype)
    y = _forward(be, wide_x, wide_w, wide_b, geometry, plan)
    if y is None or not (plan.settled or _is_finite(be, y)):
        y = DIRECT[plan.windows].forward(be, wide_x, wide_w, wide_b, geometry)
    return y.astype(x.dtype, copy=False)


def input_grad(be: Backend, *, dy: Any, w: Any, b: Any = None, geometry: ConvGeometry) -> Any:
    wide_dy, wide_w = wide(be, dy), wide(be, w)
    plan = _plan(be, geometry, wide_dy.dtype)
    dx = _input_grad(be, wide_dy, wide_w, geometry, plan)
    if dx is None or not (plan.settled or _is_finite(be, dx)):
        dx = DIRECT[plan.windows].input_grad(be, wide_dy, wide_w, geometry)
    if b is not None:
        dx += wide(be, b).reshape(-1, *[1] * (dx.ndim - 2))
    return dx.astype(dy.dtype, copy=False)


def weight_grad(be: Backend, *, x: Any, dy: Any, geometry: ConvGeometry) -> Any:
    wide_x, wide_dy = wide(be, x), wide(be, dy)
    plan = _plan(be, geometry, wide_x.dtype)
    dw = _weight_grad(be, wide_x, wide_dy, geometry, plan)
    if dw is None or not (plan.settled or _is_finite(be, dw)):
        dw = DIRECT[plan.windows].weight_grad(be, wide_x, wide_dy, geometry)
    return dw.astype(x.dtype, copy=False)


def bias_grad(be: Backend, *, dy: Any) -> Any:
    rows = channels.rows(wide(be, dy), layout.plane_order(dy))
    sums = be.xp.empty(rows.shape[1], be.xp.float64)
    parts = channels.blocks(be, rows)

    def work(index: int) -> None:
        part = slice(*parts[index])
        sums[part] = channels.total(be, rows[:, part])

    run(be, work, len(parts), dy.size)
    return sums.astype(dy.dtype)


def parameter_grads(be: Backend, *, x: Any, dy: Any, geometry: ConvGeometry) -> tuple[Any, Any]:
    return weight_grad(be, x=x, dy=dy, geometry=geometry), bias_grad(be, dy=dy)


def _forward(be: Backend, x: Any, w: Any, b: Any, g: ConvGeometry, plan: Plan) -> Any:
    if plan.way in DIRECT:
        return DIRECT[plan.way].forward(be, x, w, b, g)
    start = tuple(-p for p in g.pad_low)
    return TILES[plan.way].correlate(be, x=x, w=w, b=b, out=g.out_size, start=start, n=plan.points)


def _input_grad(be: Backend, dy: Any, w: Any, g: ConvGeometry, plan: Plan) -> Any:
    if plan.way in DIRECT:
        return DIRECT[plan.way].input_grad(be, dy, w, g)
    start = tuple(p - (k - 1) for p, k in zip(g.pad_low, g.kernel, strict=True))
    correlate = TILES[plan.way].correlate
    return correlate(be, x=dy, w=w, b=None, out=g.in_size, start=start, n=plan.points, transposed=True)


def _weight_grad(be: Backend, x: Any, dy: Any, g: ConvGeometry, plan: Plan) -> Any:
    if plan.way in DIRECT:
        return DIRECT[plan.way].weight_grad(be, x, dy, g)
    start = tuple(-p for p in g.pad_low)
    return TILES[plan.way].weight_grad(be, x=x, dy=dy, kernel=g.kernel, start=start, n=plan.points)
