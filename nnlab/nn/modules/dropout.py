"""Dropout layers of elements and of whole channels, and alpha dropout."""

from __future__ import annotations

from nnlab.autograd import Tensor
from nnlab.nn import functional as F
from nnlab.nn.functional._checks import check_probability
from nnlab.nn.module import Module


class _Dropout(Module):
    """Base of the layers below: ``p`` and ``inplace``.

    Raises:
        ArgumentError: p is not between 0 and 1.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        check_probability(type(self).__name__, p)
        self.p = p
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """In training zero each element with probability ``p`` and multiply the others by 1 / (1 - p)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_Dropout):
    """In training zero each channel of (N, C, L) or (C, L) with probability ``p``, scale the others by 1 / (1 - p)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """In training zero each channel of (N, C, H, W) with probability ``p``, scale the others by 1 / (1 - p)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_Dropout):
    """In training zero each channel of (N, C, D, H, W) or (C, D, H, W), scale the others by 1 / (1 - p)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_Dropout):
    """Dropout that keeps mean 0 and variance 1, for SELUs; see :func:`nnlab.nn.functional.alpha_dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.alpha_dropout(input, self.p, self.training, self.inplace)


class FeatureAlphaDropout(_Dropout):
    """Alpha dropout of whole channels of (N, C, ...); see :func:`nnlab.nn.functional.alpha_dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.feature_alpha_dropout(input, self.p, self.training, self.inplace)
