"""Padding layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from nnlab.autograd import Tensor
from nnlab.errors import ArgumentError, complaint
from nnlab.nn import functional as F
from nnlab.nn.functional._checks import with_batch
from nnlab.nn.module import Module

Size = int | Sequence[int]


class _Pad(Module):
    spatial: ClassVar[int]
    mode: ClassVar[str]

    def __init__(self, padding: Size) -> None:
        super().__init__()
        sides = 2 * self.spatial
        given = (padding,) * sides if isinstance(padding, int) else tuple(padding)
        if len(given) != sides or not all(isinstance(n, int) for n in given):
            raise ArgumentError(complaint(type(self).__name__, "padding", f"be an int or {sides} ints", padding))
        self.padding = given

    def forward(self, input: Tensor) -> Tensor:
        with_batch(type(self).__name__, input, self.spatial)
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    mode = "constant"

    def __init__(self, padding: Size, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: Size) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


_DOC = """Pad the last {what} {how}.

    Input {shape}; output with each size larger by what is added on both its sides.

    Args:
        padding: an int for all sides, or (before, after) of the last dimension, then of the one before it, and so on;
            negative numbers crop.{value}

    Raises:
        ShapeError: the input has other dimensions, or more is taken away{limit} than there is.
    """
_VALUE = "\n        value: what to put there."


def _doc(spatial: int, how: str, limit: str = "", value: str = "") -> str:
    axes = ("L", "H, W", "D, H, W")[spatial - 1]
    shape = f"(..., {axes})" if not limit else f"(N, C, {axes}) or (C, {axes})"
    what = "dimension" if spatial == 1 else f"{spatial} dimensions"
    return _DOC.format(what=what, how=how, shape=shape, limit=limit, value=value)


class ConstantPad1d(_ConstantPad):
    __doc__ = _doc(1, "with a value", value=_VALUE)
    spatial = 1


class ConstantPad2d(_ConstantPad):
    __doc__ = _doc(2, "with a value", value=_VALUE)
    spatial = 2


class ConstantPad3d(_ConstantPad):
    __doc__ = _doc(3, "with a value", value=_VALUE)
    spatial = 3


class ZeroPad1d(_ZeroPad):
    __doc__ = _doc(1, "with zeros")
    spatial = 1


class ZeroPad2d(_ZeroPad):
    __doc__ = _doc(2, "with zeros")
    spatial = 2


class ZeroPad3d(_ZeroPad):
    __doc__ = _doc(3, "with zeros")
    spatial = 3


_REFLECTION = ("with the input mirrored at its edges, which are not repeated", " or mirrored")


class ReflectionPad1d(_Pad):
    __doc__ = _doc(1, *_REFLECTION)
    spatial = 1
    mode = "reflect"


class ReflectionPad2d(_Pad):
    __doc__ = _doc(2, *_REFLECTION)
    spatial = 2
    mode = "reflect"


class ReflectionPad3d(_Pad):
    __doc__ = _doc(3, *_REFLECTION)
    spatial = 3
    mode = "reflect"


_REPLICATION = ("with the edges, repeated", " or repeated")


class ReplicationPad1d(_Pad):
    __doc__ = _doc(1, *_REPLICATION)
    spatial = 1
    mode = "replicate"


class ReplicationPad2d(_Pad):
    __doc__ = _doc(2, *_REPLICATION)
    spatial = 2
    mode = "replicate"


class ReplicationPad3d(_Pad):
    __doc__ = _doc(3, *_REPLICATION)
    spatial = 3
    mode = "replicate"


_CIRCULAR = ("with the input's other end", " or put around")


class CircularPad1d(_Pad):
    __doc__ = _doc(1, *_CIRCULAR)
    spatial = 1
    mode = "circular"


class CircularPad2d(_Pad):
    __doc__ = _doc(2, *_CIRCULAR)
    spatial = 2
    mode = "circular"


class CircularPad3d(_Pad):
    __doc__ = _doc(3, *_CIRCULAR)
    spatial = 3
    mode = "circular"
