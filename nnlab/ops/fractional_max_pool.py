"""Places of the maxima of fractional max pooling.

Windows of ``kernel`` elements begin, along a dimension with ``in`` elements, at

    s_o = floor((o + u) * a) - floor(u * a)    a = (in - kernel) / (out - 1)    the last at in - kernel

with one u in [0, 1) for each plane and dimension: gaps of floor(a) and ceil(a) in a pseudorandom order. The first
maximum of a window in row-major order wins; NaN wins over numbers, the last one.

Shapes: x (N, C, *in), samples u (N, C, dimensions), places int64 (N, C, *out): flat places in the plane of x, as of
``ops.max_pool``, which takes values there and brings gradients back.

Source: Graham, "Fractional max-pooling", 2014.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.geometry import Shape
from nnlab.ops import body


def places(be: Backend, *, x: Any, samples: Any, kernel: Shape, out: Shape) -> Any:
    """Where the maxima are."""
    return body(be, "fractional_max_pool").places(be, x=x, samples=samples, kernel=kernel, out=out)
