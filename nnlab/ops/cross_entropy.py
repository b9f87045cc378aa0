"""Negative log-likelihood of class numbers, alone and fused with log-softmax.

For scores x (N, C, P), class numbers t (N, P), class weights w and smoothing e, with q = log_softmax(x) over C:

    nll[n, p]           = -w[t] * x[t]
    cross_entropy[n, p] = -(1 - e) * w[t] * q[t] - e / C * sum_c w[c] * q[c]

Where t is ``ignore_index`` the loss is 0. The mean divides by the sum of w[t] over the others, so it is NaN if there
are none. Half precision is computed in float32, and the results stay so. On the CPU a class number outside 0..C-1 is an
error; on a GPU, where asking would stop the queue, its loss is NaN.

Both gradients have the form ``dx = g * (p * s - a)`` with p = softmax(x) (for nll: ``dx = -g * a``), g the gradient of
the element (divided for the mean), s (N, P) and a (N, C, P) the coefficients of the loss.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from nnlab.backend import Backend
from nnlab.ops import body


class Target(NamedTuple):
    """Class numbers, checked: ``flat`` (N, P) places of x[t] in the flat scores, ``weight`` (N, P) w[t] or 0 if
    ignored, ``used`` bool (N, P), ``total`` sum of ``weight``, ``classes`` (C,) the class weights or None."""

    flat: Any
    weight: Any
    used: Any
    total: Any
    classes: Any


def prepare(
    be: Backend, *, target: Any, shape: tuple[int, int, int], weight: Any, ignore_index: int, dtype: Any, layer: str
) -> Target:
    """Check class numbers (N, P) against scores of ``shape`` (N, C, P), of ``dtype`` (half precision: float32)."""
    return body(be, "cross_entropy").prepare(
        be, target=target, shape=shape, weight=weight, ignore_index=ignore_index, dtype=dtype, layer=layer
    )


def nll(be: Backend, *, x: Any, target: Target) -> Any:
    """(N, P): -w[t] * x[t], 0 where ignored."""
    return body(be, "cross_entropy").nll(be, x=x, target=target)


def cross_entropy(be: Backend, *, x: Any, target: Target, smoothing: float) -> tuple[Any, Any]:
    """(loss (N, P), q (N, C, P))."""
    return body(be, "cross_entropy").cross_entropy(be, x=x, target=target, smoothing=smoothing)


def reduce(be: Backend, *, loss: Any, total: Any, reduction: str) -> Any:
    """Losses (N, P) as they are ('none'), their sum, or their sum / total ('mean')."""
    return body(be, "cross_entropy").reduce(be, loss=loss, total=total, reduction=reduction)


def coefficients(be: Backend, *, target: Target, shape: tuple[int, int, int], smoothing: float) -> tuple[Any, Any]:
    """(s (N, P), a (N, C, P)); without smoothing a is w[t] at the target and 0 elsewhere."""
    return body(be, "cross_entropy").coefficients(be, target=target, shape=shape, smoothing=smoothing)


def backward(be: Backend, *, g: Any, q: Any, target: Target, smoothing: float) -> Any:
    """dx (N, C, P) of cross_entropy; g (N, P) or a scalar array."""
    return body(be, "cross_entropy").backward(be, g=g, q=q, target=target, smoothing=smoothing)
