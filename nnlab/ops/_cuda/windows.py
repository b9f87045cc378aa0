"""The window of a pooling or convolution as the parameters that kernels take (``kernels/include/window.cuh``,
``adaptive.cuh``)."""

from __future__ import annotations

from nnlab.geometry import ConvGeometry, PoolGeometry, Shape

_DIMENSIONS = "dhw"
_FIELDS = ("in", "out", "kernel", "stride", "pad", "dilation")
ADAPTIVE = ("in_d", "in_h", "in_w", "out_d", "out_h", "out_w")
PARAMETERS = {f"{field}_{dimension}": "index" for dimension in _DIMENSIONS for field in _FIELDS}


def arguments(g: PoolGeometry | ConvGeometry) -> dict[str, int]:
    """Values of ``PARAMETERS``; a missing dimension has one element and one tap."""
    missing = [(1, 1, 1, 1, 0, 1)] * (len(_DIMENSIONS) - len(g.kernel))
    lines = [*missing, *zip(g.in_size, g.out_size, g.kernel, g.stride, g.pad_low, g.dilation, strict=True)]
    return dict(zip(PARAMETERS, (value for line in lines for value in line), strict=True))


def reach(g: PoolGeometry) -> int:
    """No index arithmetic along one dimension goes beyond this."""
    lines = zip(g.in_size, g.out_size, g.kernel, g.stride, g.pad_low, g.dilation, strict=True)
    return max(n + o * s + p + k * d for n, o, k, s, p, d in lines)


def adaptive(size: Shape, out: Shape) -> dict[str, int]:
    """Values of ``ADAPTIVE``, and ``reach``, for pooling ``size`` to ``out``."""
    missing = (1,) * (len(_DIMENSIONS) - len(size))
    furthest = max(n * o + n + o for n, o in zip(size, out, strict=True))
    return {"reach": furthest, **dict(zip(ADAPTIVE, (*missing, *size, *missing, *out), strict=True))}
