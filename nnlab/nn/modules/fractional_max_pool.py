"""Fractional max pooling layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from nnlab.autograd import Tensor
from nnlab.nn import functional as F
from nnlab.nn.functional.fractional_max_pool import output_of
from nnlab.nn.module import Module

Size = int | Sequence[int]
Ratio = float | Sequence[float]


class _FractionalMaxPool(Module):
    """Maximum of windows whose places are drawn at every call; see :func:`nnlab.nn.functional.fractional_max_pool2d`.

    Args:
        kernel_size: of the windows, an int or one a dimension.
        output_size: an int or one a dimension.
        output_ratio: output size over input size instead (rounded down), between 0 and 1.
        return_indices: also return where each maximum was found.
        _random_samples: numbers in [0, 1) to use at every call instead of drawing them: (N, C, dimensions).
    """

    spatial: ClassVar[int]

    def __init__(
        self,
        kernel_size: Size,
        output_size: Size | None = None,
        output_ratio: Ratio | None = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        output_of(type(self).__name__, (), output_size, output_ratio)
        self.kernel_size = kernel_size
        self.output_size = output_size
        self.output_ratio = output_ratio
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)

    def forward(self, input: Tensor) -> Any:
        pool = F.fractional_max_pool2d if self.spatial == 2 else F.fractional_max_pool3d
        return pool(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, self._random_samples
        )

    def extra_repr(self) -> str:
        given = f"output_size={self.output_size}" if self.output_ratio is None else f"output_ratio={self.output_ratio}"
        return f"kernel_size={self.kernel_size}, {given}"


class FractionalMaxPool2d(_FractionalMaxPool):
    __doc__ = _FractionalMaxPool.__doc__
    spatial = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    __doc__ = _FractionalMaxPool.__doc__
    spatial = 3
