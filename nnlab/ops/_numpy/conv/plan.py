"""Which way a convolution is computed: a function of its geometry, the dtype and the precision that is asked for.

Costs are nanoseconds of one core as measured on one with AVX-512; another core's ratios differ, but they decide only
where two ways are nearly equal, and the choice must not depend on the machine. docs/math/conv.md has the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np

from nnlab.geometry import ConvGeometry
from nnlab.ops._numpy.conv.stride import plane_size

FLOPS_UNFOLDED = 180.0  # of one core in a nanosecond, in the large products of unfolded windows
FLOPS_ROWS = 90.0  # in the rows of all images, read from further away
FLOPS_TILES = 150.0  # and in Winograd's many smaller ones
UNFOLD = 0.4  # nanoseconds to copy one number of an unfolded window
TRANSFORM = 0.5  # to make or use one coefficient of a tile
PLANE = 1.3  # to read or write one number of an input or output on the way
WEIGHTS = 0.7  # to make one coefficient of the kernels

ROWS = 32  # channels by which few of them cost more than their share in transforms
KERNEL_BYTES = 80 << 20  # of the kernels' coefficients, at most: their memory is kept

LAST_IMAGES = 16  # at least, for batch last
LAST_BYTES = 15 << 20  # of the kernels' coefficients, at most: each block of tiles reads them
LAST = 0.4  # of the transforms' time above

ROWS_WIDTHS = 2  # images to the width of an output, at least, for rows of all images
ROWS_POSITIONS = 1 << 16  # of an output channel in all images, at most: planes of more are fast one by one
ROWS_BYTES = 3 << 20  # of what would be coefficients of the kernels, up to which rows are taken before tiles one by one

SORTED_CHANNELS = 4  # of the input, at most, to sort its planes by remainders of the stride
SORTED_BYTES = 1 << 20  # of an image's unfolded windows, at least: below, many small copies cost more
SPACE = 1.15  # places of a plane's row to outputs of it, at most


@dataclass(frozen=True)
class Plan:
    """How to compute the passes of one convolution.

    Attributes:
        way: "unfold", "rows", "stride", "tiles" or "winograd", the module of that name.
        points: of Winograd's transforms along each dimension.
    """

    way: str = "unfold"
    points: int = 0

    @property
    def settled(self) -> bool:
        """Whether a result may be taken unseen: the way multiplies what the definition does, or gives None."""
        return self.way in ("unfold", "rows", "tiles")

    @property
    def windows(self) -> str:
        """The way that multiplies what the definition does, for results that are not finite."""
        return "rows" if self.way == "tiles" else "unfold"


UNFOLDED = Plan()


@lru_cache(maxsize=1024)
def choose(g: ConvGeometry, dtype: np.dtype, precision: str) -> Plan:
    """The plan for NumPy arrays of ``dtype`` (half precision: float32), ``precision`` "highest", "high" or "medium"."""
    if len(g.kernel) != 2 or g.groups != 1 or max(g.dilation) > 1 or 0 in g.x_shape + g.y_shape:
        return UNFOLDED
    if max(g.stride) > 1:
        return Plan("stride") if _sorts(g) else UNFOLDED
    small = _is_small(g)
    points = 4 if precision == "highest" else 6
    if dtype == np.float32 and min(g.kernel) >= 3 and max(g.kernel) < points:
        coefficients = points * points * prod(g.w_shape[:2]) * 4
        together = precision != "highest" and _many(g, 1) and coefficients <= LAST_BYTES
        if together and _tiles(g, points, LAST) < _windows(g, g.kernel[1], FLOPS_ROWS):
            return Plan("tiles", points)
        fewer = _tiles(g, points) < _windows(g, prod(g.kernel), FLOPS_UNFOLDED)
        if fewer and coefficients <= KERNEL_BYTES and not (small and coefficients <= ROWS_BYTES):
            return Plan("winograd", points)
    return Plan("rows") if small else UNFOLDED


def _many(g: ConvGeometry, widths: int) -> bool:
    """Whether batch last pays: there are so many images to the width of an output."""
    return g.x_shape[0] >= max(LAST_IMAGES, widths * g.out_size[-1])


def _is_small(g: ConvGeometry) -> bool:
    """Whether planes are small as well, for rows of all images."""
    positions = g.x_shape[0] * prod(g.out_size)
    return _many(g, ROWS_WIDTHS) and positions <= ROWS_POSITIONS and max(g.kernel) > 1


def _sorts(g: ConvGeometry) -> bool:
    """Large images of few channels, most places of which are read, by rows little longer than those of outputs."""
    places = plane_size(g)[-1]
    windows = prod(g.w_shape[1:]) * prod(g.out_size) * 4
    return (
        g.x_shape[1] <= SORTED_CHANNELS
        and windows >= SORTED_BYTES
        and min(g.stride) > 1
        and all(k > s for k, s in zip(g.kernel, g.stride, strict=True))
        and places <= SPACE * g.out_size[-1]
    )


def _windows(g: ConvGeometry, copies: int, flops: float) -> float:
    """Nanoseconds by windows, of each number of which there are so many copies."""
    outputs, channels, taps = *g.w_shape[:2], prod(g.kernel)
    return g.y_shape[0] * prod(g.out_size) * channels * (2 * taps * outputs / flops + UNFOLD * copies)


def _tiles(g: ConvGeometry, points: int, share: float = 1.0) -> float:
    """Nanoseconds by tiles; ``share``: what transforms cost of those of ``winograd``."""
    outputs, channels = g.w_shape[:2]
    positions = g.y_shape[0] * prod(g.out_size)
    tiles = g.y_shape[0] * prod(-(-o // (points + 1 - k)) for o, k in zip(g.out_size, g.kernel, strict=True))
    coefficients = points * points
    product = 2 * tiles * coefficients * channels * outputs / FLOPS_TILES
    transforms = (TRANSFORM * tiles * coefficients + PLANE * positions) * (channels + outputs + ROWS)
    return product + share * transforms + WEIGHTS * coefficients * channels * outputs
