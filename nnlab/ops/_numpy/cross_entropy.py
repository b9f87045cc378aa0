"""Negative log-likelihood and cross-entropy on arrays."""

from __future__ import annotations

from typing import Any

from nnlab import types
from nnlab.backend import Backend
from nnlab.errors import ArgumentError, complaint
from nnlab.ops._numpy.precision import wide
from nnlab.ops._numpy.softmax import log_softmax
from nnlab.ops.cross_entropy import Target


def prepare(
    be: Backend, *, target: Any, shape: tuple[int, int, int], weight: Any, ignore_index: int, dtype: Any, layer: str
) -> Target:
    xp = be.xp
    images, classes, positions = shape
    dtype = types.wide(dtype)
    used = target != ignore_index
    wrong = used & ((target < 0) | (target >= classes))
    if be.host_memory and wrong.any():
        bad = int(target[wrong][0])
        raise ArgumentError(complaint(layer, "target", f"be class numbers in 0..{classes - 1}", bad))
    safe = xp.where(used & ~wrong, target, 0).astype(xp.int64)
    flat = (xp.arange(images)[:, None] * classes + safe) * positions + xp.arange(positions)
    if weight is None:
        chosen = used.astype(dtype)
    else:
        weight = weight.astype(dtype)
        chosen = xp.where(used, weight[safe], dtype.type(0)) if classes else xp.zeros(target.shape, dtype)
    chosen = xp.where(wrong, dtype.type(xp.nan), chosen)
    return Target(flat, chosen, used, chosen.sum(), weight)


def nll(be: Backend, *, x: Any, target: Target) -> Any:
    x = wide(be, x)
    picked = x.reshape(-1)[target.flat.reshape(-1)].reshape(target.flat.shape)
    return be.xp.where(target.used, -target.weight * picked, x.dtype.type(0))


def cross_entropy(be: Backend, *, x: Any, target: Target, smoothing: float) -> tuple[Any, Any]:
    xp = be.xp
    x = xp.ascontiguousarray(wide(be, x))
    q = log_softmax(be, x=x, axis=1)
    loss = nll(be, x=q, target=target)
    if smoothing > 0:
        spread = q if target.classes is None else q * target.classes[:, None]
        even = xp.where(target.used, -spread.sum(axis=1), x.dtype.type(0))
        loss = x.dtype.type(1 - smoothing) * loss + x.dtype.type(smoothing / x.shape[1]) * even
    return loss, q


def reduce(be: Backend, *, loss: Any, total: Any, reduction: str) -> Any:
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    with be.quiet():  # 0 / 0 is the NaN that a batch without targets should give
        return loss.sum() / total


def _shares(target: Target, classes: int, smoothing: float, dtype: Any) -> tuple[Any, Any]:
    """(1 - e) * w[t] and the even share e / C * w[c] as (C, 1) or a number."""
    even = dtype.type(smoothing / classes)
    return dtype.type(1 - smoothing) * target.weight, even if target.classes is None else even * target.classes[:, None]


def _mass(be: Backend, target: Target, own: Any, even: Any, classes: int) -> Any:
    """s (N, P): the sum of all coefficients of an element."""
    spread = even * classes if target.classes is None else even.sum()
    return be.xp.where(target.used, own + spread, own.dtype.type(0))


def coefficients(be: Backend, *, target: Target, shape: tuple[int, int, int], smoothing: float) -> tuple[Any, Any]:
    xp = be.xp
    dtype = target.weight.dtype
    own, even = _shares(target, shape[1], smoothing, dtype)
    a = xp.zeros(shape, dtype)
    a += xp.where(target.used[:, None], even, dtype.type(0))
    a.reshape(-1)[target.flat.reshape(-1)] += own.reshape(-1)
    return _mass(be, target, own, even, shape[1]), a


def backward(be: Backend, *, g: Any, q: Any, target: Target, smoothing: float) -> Any:
    classes = q.shape[1]
    own, even = _shares(target, classes, smoothing, q.dtype)
    g = be.xp.where(target.used, g, q.dtype.type(0))
    dx = be.xp.exp(q)
    dx *= (_mass(be, target, own, even, classes) * g)[:, None]
    if smoothing > 0:
        dx -= even * g[:, None]
    dx.reshape(-1)[target.flat.reshape(-1)] -= (own * g).reshape(-1)
    return dx
