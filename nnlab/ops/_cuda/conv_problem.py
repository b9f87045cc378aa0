"""What the kernels of convolutions are told of a problem, and the sum of a gradient's parts."""

from __future__ import annotations

from math import gcd, prod
from typing import Any

from nnlab.backend import Backend
from nnlab.cuda.launch import Kernel, launch
from nnlab.geometry import ConvGeometry
from nnlab.ops._cuda import windows

CHANNELS = dict.fromkeys(("groups", "inputs", "outputs"), "index")
PERIODS = dict.fromkeys(("period_d", "period_h", "period_w"), "index")

FORWARD_ARRAYS = {"x": "scalar*", "w": "scalar*", "b": "scalar*", "y": "scalar*"}
INPUT_GRAD_ARRAYS = {"dy": "scalar*", "w": "scalar*", "b": "scalar*", "dx": "scalar*"}
WEIGHT_GRAD_ARRAYS = {"x": "scalar*", "dy": "scalar*", "parts": "acc*"}
_SIZES = {"images": "index", **CHANNELS}
MMA_PARAMETERS = {  # of the kernels on tensor cores
    "forward": {
        **FORWARD_ARRAYS, "mask": "uint8*", **_SIZES, **dict.fromkeys(("biased", "rectify", "masked"), "int32"),
        **windows.PARAMETERS,
    },
    "forward_pooled": {
        **FORWARD_ARRAYS, "places": "uint8*", **_SIZES, **dict.fromkeys(("biased", "masked"), "int32"),
        **windows.PARAMETERS,
    },
    "input_grad": {**INPUT_GRAD_ARRAYS, **_SIZES, "biased": "int32", **PERIODS, **windows.PARAMETERS},
    "weight_grad": {
        **WEIGHT_GRAD_ARRAYS, "bias_parts": "acc*", **_SIZES, "share": "index", "biased": "int32", **windows.PARAMETERS,
    },
}  # fmt: skip

_COUNTS = dict.fromkeys(("n", "count", "inputs", "taps"), "index")
_SUM = Kernel("conv", "conv_sum", {"parts": "acc*", "total": "scalar*", **_COUNTS}, variants={"TILE_ROWS": (64,)})


def sizes(g: ConvGeometry) -> dict[str, int]:
    """Values of ``CHANNELS`` and of the window's parameters, and ``reach`` for the gate."""
    channels = {"groups": g.groups, "inputs": g.w_shape[1], "outputs": g.w_shape[0] // g.groups}
    return {**channels, **windows.arguments(g), "reach": _reach(g)}


def _reach(g: ConvGeometry) -> int:
    """No position, and no offset in x or y of a position inside or outside, goes beyond this."""
    lines = list(zip(g.in_size, g.out_size, g.kernel, g.stride, g.pad_low, g.dilation, strict=True))
    extents = [n + o * s + p + k * d for n, o, k, s, p, d in lines]
    reach = 0
    for shape in (g.x_shape, g.y_shape):
        rows = [shape[1] * prod(shape[3 + axis :]) for axis in range(len(extents))]
        reach = max(reach, prod(shape) + sum(extent * row for extent, row in zip(extents, rows, strict=True)))
    return max(reach, *extents)


def phases(g: ConvGeometry) -> tuple[int, int]:
    """(number, positions of the largest) of the phases of an input gradient, in all images."""
    lines = list(zip(g.in_size, g.stride, strict=True))
    return prod(min(n, s) for n, s in lines), g.x_shape[0] * prod(-(-n // s) for n, s in lines)


def periods(g: ConvGeometry) -> dict[str, int]:
    """Values of ``PERIODS``: from one tap of a phase to the next."""
    found = [s // gcd(s, d) for s, d in zip(g.stride, g.dilation, strict=True)]
    return dict(zip(PERIODS, [*[1] * (3 - len(found)), *found], strict=True))


def sum_parts(be: Backend, parts: Any, dtype: Any, *, inputs: int, taps: int) -> Any:
    """The sum of the parts; with ``taps`` above 1 they are (..., taps, inputs), the sum (..., inputs, taps)."""
    total = be.xp.empty(parts.shape[1:], dtype)
    counts = {"n": total.size, "count": len(parts), "inputs": inputs, "taps": taps}
    launch(be, _SUM, threads=total.size, parts=parts, total=total, **counts)
    return total
