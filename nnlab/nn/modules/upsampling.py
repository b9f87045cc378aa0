"""Layers that give planes another size."""

from __future__ import annotations

from collections.abc import Sequence

from nnlab.autograd import Tensor
from nnlab.nn import functional as F
from nnlab.nn.module import Module

Size = int | Sequence[int]
Scale = float | Sequence[float]


class Upsample(Module):
    """Planes in another size: :func:`nnlab.nn.functional.interpolate` as a layer.

    Input (N, C, L), (N, C, H, W) or (N, C, D, H, W).

    Args:
        size: of the output, an int or one a spatial dimension.
        scale_factor: output size over input size instead (rounded down).
        mode: "nearest", "nearest-exact", "area", "linear", "bilinear", "bicubic" or "trilinear".
        align_corners: whether the centres of the corner pixels coincide; for the last four modes, default False.
        recompute_scale_factor: compute with the quotient of the rounded sizes, not with ``scale_factor`` itself.
    """

    def __init__(
        self,
        size: Size | None = None,
        scale_factor: Scale | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        self.scale_factor: float | tuple[float, ...] | None = None
        if isinstance(scale_factor, int | float):
            self.scale_factor = float(scale_factor)
        elif scale_factor is not None:
            self.scale_factor = tuple(float(factor) for factor in scale_factor)
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            recompute_scale_factor=self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        given = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        return f"{given}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """:class:`Upsample` of (N, C, H, W) by the nearest pixel."""

    def __init__(self, size: Size | None = None, scale_factor: Scale | None = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """:class:`Upsample` of (N, C, H, W), bilinear with ``align_corners=True``."""

    def __init__(self, size: Size | None = None, scale_factor: Scale | None = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
