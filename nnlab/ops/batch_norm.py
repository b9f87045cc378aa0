"""Batch normalisation of each channel (axis 1) over all other axes.

``y = (x - mean) * rstd * weight + bias`` with ``rstd = 1 / sqrt(var + eps)``; in training mean and the biased variance
are the batch's, computed in two passes. The gradient is

    dx = weight * rstd * (dy - mean(dy) - xhat * mean(dy * xhat)),  dweight = sum(dy * xhat),  dbias = sum(dy)

Shapes: x (N, C, ...), mean, rstd, var, weight, bias (C,). Statistics of half precision are float32.

Source: Ioffe and Szegedy, "Batch normalization", ICML 2015. docs/math/batch_norm.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from nnlab.backend import Backend
from nnlab.ops import body


class Saved(NamedTuple):
    """Statistics of the batch (C,): mean, 1 / sqrt(var + eps), and the biased variance."""

    mean: Any
    rstd: Any
    var: Any


def forward(be: Backend, *, x: Any, weight: Any, bias: Any, eps: float, relu: bool = False) -> tuple[Any, Saved]:
    """(y, saved) of the training form; weight and bias may be None; with ``relu`` y is max(y, 0)."""
    return body(be, "batch_norm").forward(be, x=x, weight=weight, bias=bias, eps=eps, relu=relu)


def backward(be: Backend, *, dy: Any, x: Any, weight: Any, saved: Saved, y: Any = None) -> tuple[Any, Any, Any]:
    """(dx, dweight, dbias) of the training form; y: the result if that was of the form with relu."""
    return body(be, "batch_norm").backward(be, dy=dy, x=x, weight=weight, saved=saved, y=y)


def evaluate(be: Backend, *, x: Any, mean: Any, var: Any, weight: Any, bias: Any, eps: float) -> Any:
    """y with given statistics."""
    return body(be, "batch_norm").evaluate(be, x=x, mean=mean, var=var, weight=weight, bias=bias, eps=eps)
