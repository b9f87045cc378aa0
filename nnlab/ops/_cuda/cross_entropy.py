"""Negative log-likelihood and cross-entropy by ``kernels/cross_entropy.cu``.

Array code: ``prepare``, which looks at the class numbers alone, ``coefficients``, which second derivatives ask for, and
what has no scores at all.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.cuda.launch import Kernel, accumulator, launch
from nnlab.ops._cuda import teams
from nnlab.ops._numpy import cross_entropy as arrays
from nnlab.ops._numpy.cross_entropy import coefficients, prepare
from nnlab.ops.cross_entropy import Target

__all__ = ["backward", "coefficients", "cross_entropy", "nll", "prepare", "reduce"]

_PART = 4096  # elements that a block adds up
_WIDE = ("float32", "float64")  # of what forward has made
_TARGET = {"flat": "int64*", "weight": "acc*", "used": "bool*"}
_OPTIONS = {"count": "index", "inner": "index", "weighted": "int32", "own": "acc", "even": "acc"}
_FORWARD = Kernel(
    "cross_entropy",
    "cross_entropy_forward",
    {"x": "scalar*", **_TARGET, "classes": "acc*", "loss": "acc*", "q": "acc*", "lines": "index", **_OPTIONS},
    variants=teams.VARIANTS,
)
_BACKWARD = Kernel(
    "cross_entropy",
    "cross_entropy_backward",
    {
        "q": "scalar*",
        "g": "acc*",
        **_TARGET,
        "classes": "acc*",
        "total": "acc*",
        "dx": "scalar*",
        "n": "index",
        "count": "index",
        "inner": "index",
        "g_step": "int32",
        "weighted": "int32",
        "own": "acc",
        "even": "acc",
    },
    _WIDE,
)
_NLL = Kernel("cross_entropy", "cross_entropy_nll", {"x": "scalar*", **_TARGET, "loss": "acc*", "lines": "index"})
_SUM = Kernel(
    "cross_entropy",
    "cross_entropy_sum",
    {"x": "scalar*", "y": "scalar*", "n": "index", "parts": "index", "part": "index"},
    _WIDE,
    teams.VARIANTS,
)


def _target(be: Backend, target: Target) -> dict[str, Any]:
    return {name: be.xp.asarray(getattr(target, name), order="C") for name in _TARGET}


def _options(be: Backend, target: Target, classes: int, smoothing: float, dtype: Any) -> dict[str, Any]:
    given = target.classes is not None
    weights = be.xp.asarray(target.classes, order="C") if given else be.xp.empty(0, dtype)
    return {"classes": weights, "weighted": int(given), "own": 1 - smoothing, "even": smoothing / classes}


def nll(be: Backend, *, x: Any, target: Target) -> Any:
    if not x.size:
        return arrays.nll(be, x=x, target=target)
    xp = be.xp
    loss = xp.empty(target.flat.shape, accumulator(x.dtype))
    fields = _target(be, target)
    launch(be, _NLL, threads=loss.size, x=xp.asarray(x, order="C"), **fields, loss=loss, lines=loss.size)
    return loss


def cross_entropy(be: Backend, *, x: Any, target: Target, smoothing: float) -> tuple[Any, Any]:
    if not x.size:
        return arrays.cross_entropy(be, x=x, target=target, smoothing=smoothing)
    xp = be.xp
    dtype = accumulator(x.dtype)
    loss, q = xp.empty(target.flat.shape, dtype), xp.empty(x.shape, dtype)
    _, count, inner = x.shape
    grid = teams.grid(be, _FORWARD, x.dtype, loss.size, count, inner)
    launch(
        be, _FORWARD, threads=grid, x=xp.asarray(x, order="C"), **_target(be, target), loss=loss, q=q,
        lines=loss.size, count=count, inner=inner, **_options(be, target, count, smoothing, dtype),
    )  # fmt: skip
    return loss, q


def reduce(be: Backend, *, loss: Any, total: Any, reduction: str) -> Any:
    if reduction == "none":
        return loss
    xp = be.xp
    x = xp.asarray(loss, order="C").reshape(-1)
    while x.size > 1:
        y = xp.empty(-(-x.size // _PART), x.dtype)
        grid = teams.grid(be, _SUM, x.dtype, y.size, min(x.size, _PART), 1)
        launch(be, _SUM, threads=grid, x=x, y=y, n=x.size, parts=y.size, part=_PART)
        x = y
    result = x.reshape(()) if x.size else xp.zeros((), loss.dtype)
    if reduction == "sum":
        return result
    with be.quiet():  # 0 / 0 is the NaN that a batch without targets should give
        return result / total


def backward(be: Backend, *, g: Any, q: Any, target: Target, smoothing: float) -> Any:
    xp = be.xp
    dx = xp.empty(q.shape, q.dtype)
    if not q.size:
        return dx
    _, count, inner = q.shape
    g = xp.asarray(g, order="C")
    options = _options(be, target, count, smoothing, q.dtype)
    classes = options["classes"]
    total = classes if target.classes is None else classes.sum().reshape(1)
    launch(
        be, _BACKWARD, threads=q.size, q=xp.asarray(q, order="C"), g=g, **_target(be, target), total=total, dx=dx,
        n=q.size, count=count, inner=inner, g_step=int(g.ndim > 0), **options,
    )  # fmt: skip
    return dx
