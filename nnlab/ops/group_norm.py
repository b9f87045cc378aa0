"""Normalisation of each sample's groups of channels: group, instance and layer normalisation, and by root mean square.

The channels (axis 1) of each image are cut into ``groups`` of equal size; a group is one line of m numbers:

    centred:    y = (x - mean) * rstd * weight + bias    with rstd = 1 / sqrt(mean((x - mean)**2) + eps)
    otherwise:  y = x * rstd * weight                    with rstd = 1 / sqrt(mean(x**2) + eps)

Gradients, with g = dy * weight and xhat = y before weight and bias:

    dx = rstd * (g - mean(g) - xhat * mean(g * xhat)),  dweight = sum(dy * xhat),  dbias = sum(dy)

where the term mean(g) is there only if centred, and the sums run over images and positions.

Shapes: x, y (N, C, ...), weight and bias (C,) or None, mean and rstd (N, groups). One group a channel is instance
normalisation; lines (N, C) in one group are layer normalisation. Statistics of half precision are float32.

Sources: Ba, Kiros, Hinton, "Layer normalization", 2016; Wu and He, "Group normalization", ECCV 2018; Ulyanov, Vedaldi,
Lempitsky, "Instance normalization", 2016; Zhang and Sennrich, "Root mean square layer normalization", NeurIPS 2019.
docs/math/group_norm.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from nnlab.backend import Backend
from nnlab.ops import body


class Saved(NamedTuple):
    """Statistics (N, groups): mean (None if not centred), rstd, and the biased variance (the mean square)."""

    mean: Any
    rstd: Any
    var: Any


def forward(
    be: Backend, *, x: Any, weight: Any, bias: Any, groups: int, eps: float, centred: bool
) -> tuple[Any, Saved]:
    """(y, saved)."""
    return body(be, "group_norm").forward(be, x=x, weight=weight, bias=bias, groups=groups, eps=eps, centred=centred)


def backward(be: Backend, *, dy: Any, x: Any, weight: Any, saved: Saved) -> tuple[Any, Any, Any]:
    """(dx, dweight, dbias)."""
    return body(be, "group_norm").backward(be, dy=dy, x=x, weight=weight, saved=saved)
