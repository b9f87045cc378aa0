"""Which way a convolution is computed: a function of its geometry, the dtype and the precision that is asked for.

Costs are nanoseconds of one core, measured on AVX-512 cores (docs/convolution.md); they decide only where two ways are
nearly equal. What is not two-dimensional, grouped, dilated or float32 is unfolded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np

from nnlab.geometry import ConvGeometry

FLOPS_UNFOLDED = 180.0  # of one core in a nanosecond, in the large products of unfolded windows
FLOPS_TILES = 150.0  # and in Winograd's many smaller ones
UNFOLD = 0.4  # nanoseconds to copy one number of an unfolded window
TRANSFORM = 0.5  # to make or use one coefficient of a tile
PLANE = 1.8  # to read or write one number of an input or output on the way
WEIGHTS = 0.7  # to make one coefficient of the kernels

WASTE = 1.35  # folding a stride pads the kernel, at most to so many times its taps


@dataclass(frozen=True)
class Plan:
    """How to compute the passes of one convolution.

    Attributes:
        fold: the stride is folded into channels first (see ``stride``).
        points: of Winograd's transforms along each dimension; 0: windows are unfolded.
    """

    fold: bool = False
    points: int = 0


UNFOLDED = Plan()


@lru_cache(maxsize=1024)
def choose(g: ConvGeometry, dtype: np.dtype, precision: str) -> Plan:
    """The plan for NumPy arrays of ``dtype`` (half precision: float32), ``precision`` "high" or "highest"."""
    if len(g.kernel) != 2 or g.groups != 1 or max(g.dilation) > 1 or 0 in g.x_shape + g.y_shape:
        return UNFOLDED
    fold = _folds(g)
    if max(g.stride) > 1 and not fold:
        return UNFOLDED
    channels = g.x_shape[1] * prod(g.stride)
    kernel = tuple(-(-k // s) for k, s in zip(g.kernel, g.stride, strict=True))
    points = 6 if precision == "high" else 4
    if dtype != np.float32 or min(kernel) < 3 or max(kernel) > (5 if points == 6 else 3):
        return Plan(fold)
    return Plan(fold, points if _tiles_win(g, channels, kernel, points) else 0)


def _folds(g: ConvGeometry) -> bool:
    """A stride over few channels: unfolding would read every so manieth number, and products would have few rows."""
    padded = prod(-(-k // s) * s for k, s in zip(g.kernel, g.stride, strict=True))
    return min(g.stride) > 1 and g.x_shape[1] <= 4 and padded <= WASTE * prod(g.kernel)


def _tiles_win(g: ConvGeometry, channels: int, kernel: tuple[int, ...], points: int) -> bool:
    outputs, taps = g.w_shape[0], prod(kernel)
    positions = g.y_shape[0] * prod(g.out_size)
    tiles = g.y_shape[0] * prod(-(-o // (points + 1 - k)) for o, k in zip(g.out_size, kernel, strict=True))
    coefficients = points * points
    unfolded = positions * channels * taps * (2 * outputs / FLOPS_UNFOLDED + UNFOLD)
    product = 2 * tiles * coefficients * channels * outputs / FLOPS_TILES
    transforms = (TRANSFORM * tiles * coefficients + PLANE * positions) * (channels + outputs)
    return product + transforms + WEIGHTS * coefficients * channels * outputs < unfolded
