"""Interpolation of planes to another size."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

from nnlab.autograd import Tensor
from nnlab.autograd import pool as pool_ops
from nnlab.autograd.resample import resample
from nnlab.errors import ArgumentError, ShapeError, complaint
from nnlab.geometry import sizes
from nnlab.nn.functional._checks import check_input
from nnlab.ops.resample import resampling

Size = int | Sequence[int]
Scale = float | Sequence[float]

# Names of the interpolating modes: the map along a dimension, and the number of spatial dimensions.
_SMOOTH = {"linear": ("linear", 1), "bilinear": ("linear", 2), "bicubic": ("cubic", 2), "trilinear": ("linear", 3)}
MODES = ("nearest", "nearest-exact", "area", *_SMOOTH)


def _targets(
    input: Tensor, size: Size | None, scale_factor: Scale | None, recompute: bool
) -> tuple[tuple[int, ...], list[float | None]]:
    """The output's spatial size, and input positions an output position (None: the quotient of the sizes)."""
    dims = input.ndim - 2
    if (size is None) == (scale_factor is None):
        raise ArgumentError(complaint("interpolate", "size", "be given, or 'scale_factor', and not both", size))
    if scale_factor is None:
        if recompute:
            must = "be left out where 'size' is given"
            raise ArgumentError(complaint("interpolate", "recompute_scale_factor", must, recompute))
        assert size is not None
        return sizes(size, dims, "size", "interpolate"), [None] * dims
    factors = (scale_factor,) * dims if isinstance(scale_factor, int | float) else tuple(scale_factor)
    if len(factors) != dims or not all(isinstance(f, int | float) and f > 0 for f in factors):
        raise ArgumentError(
            complaint("interpolate", "scale_factor", f"be a positive number or {dims} of them", scale_factor)
        )
    target = tuple(floor(n * float(f)) for n, f in zip(input.shape[2:], factors, strict=True))
    if min(target) < 1:
        must = f"leave a size of at least 1 of {tuple(input.shape[2:])}"
        raise ShapeError(complaint("interpolate", "scale_factor", must, scale_factor))
    return target, [None if recompute else 1.0 / f for f in factors]


def interpolate(
    input: Tensor,
    size: Size | None = None,
    scale_factor: Scale | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Planes in another size; formulas in ``nnlab.ops.resample``.

    Args:
        input: (N, C, L), (N, C, H, W) or (N, C, D, H, W), spatial sizes at least 1.
        size: of the output, an int or one a spatial dimension.
        scale_factor: output size over input size instead (rounded down), a number or one a spatial dimension.
        mode: "nearest" (the pixel at the output pixel's corner), "nearest-exact" (at its centre), "area" (adaptive
            average pooling), "linear" (N, C, L), "bilinear" or "bicubic" (N, C, H, W), "trilinear" (N, C, D, H, W).
        align_corners: whether the centres of the corner pixels coincide (else the corners of these pixels do);
            for the last four modes, default False.
        recompute_scale_factor: compute with the quotient of the rounded sizes, not with ``scale_factor`` itself.
        antialias: for "bilinear" and "bicubic": average over what lies under a pixel when making smaller.

    Raises:
        ArgumentError: an argument makes no sense, or not with the others.
        ShapeError: the input has not the number of dimensions that ``mode`` needs, or a spatial size of 0.
    """
    check_input("interpolate", input)
    if mode not in MODES:
        raise ArgumentError(complaint("interpolate", "mode", f"be one of {MODES}", mode))
    if align_corners is not None and mode not in _SMOOTH:
        must = f"be left out with mode {mode!r}: it belongs to {tuple(_SMOOTH)}"
        raise ArgumentError(complaint("interpolate", "align_corners", must, align_corners))
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ArgumentError(complaint("interpolate", "antialias", f"be False with mode {mode!r}", antialias))
    name, dims = _SMOOTH.get(mode, (mode, input.ndim - 2))
    if input.ndim != dims + 2 or not 1 <= dims <= 3 or min(input.shape[2:]) < 1:
        must = f"have {'1 to 3' if mode not in _SMOOTH else dims} spatial sizes of at least 1 for mode {mode!r}"
        raise ShapeError(complaint("interpolate", "input", must, tuple(input.shape)))
    target, scales = _targets(input, size, scale_factor, bool(recompute_scale_factor))
    if mode == "area":
        return pool_ops.adaptive_avg_pool(input, target)
    each = zip(input.shape[2:], target, scales, strict=True)
    return resample(input, tuple(resampling(name, n, o, s, bool(align_corners), antialias) for n, o, s in each))
