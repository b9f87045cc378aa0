"""How precisely float32 convolutions are computed on the CPU: one setting of the process.

- ``set_float32_conv_precision(precision)``: "high" (the default) or "highest"
- ``get_float32_conv_precision()``

"high" allows Winograd's F(4x4, 3x3) and its like, whose rounding error is a few times that of a plain float32 sum (at
most 12 times, as tests hold; a hundredth of TF32's). "highest" allows what is as exact as a plain sum.
docs/math/conv.md.
"""

from __future__ import annotations

from nnlab.errors import ArgumentError, complaint

PRECISIONS = ("highest", "high")

_conv = "high"


def set_float32_conv_precision(precision: str) -> None:
    """Choose the precision of float32 convolutions on the CPU from now on, in all threads.

    Args:
        precision: "high" (the default) or "highest". GPUs and float64 do not look at it.

    Raises:
        ArgumentError: for any other value.
    """
    global _conv
    if precision not in PRECISIONS:
        raise ArgumentError(complaint("set_float32_conv_precision", "precision", "be 'highest' or 'high'", precision))
    _conv = precision


def get_float32_conv_precision() -> str:
    """The setting: "high" or "highest"."""
    return _conv
