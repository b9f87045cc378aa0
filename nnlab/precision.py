"""How precisely float32 convolutions are computed: one setting of the process.

- ``set_float32_conv_precision(precision)``: "highest", "high" (the default) or "medium"
- ``get_float32_conv_precision()``

On the CPU "high" allows Winograd's F(4x4, 3x3) and its like, whose rounding error is a few times that of a plain
float32 sum (at most 12 times, as tests hold; a hundredth of TF32's). "highest" allows what is as exact as a plain sum.
On a GPU both multiply in full float32 precision (by three products of TF32 numbers), and "medium" multiplies TF32
numbers, with 11 bits instead of 24, as PyTorch does unless it is told otherwise. docs/math/conv.md.
"""

from __future__ import annotations

from nnlab.errors import ArgumentError, complaint

PRECISIONS = ("highest", "high", "medium")

_conv = "high"


def set_float32_conv_precision(precision: str) -> None:
    """Choose the precision of float32 convolutions from now on, in all threads.

    Args:
        precision: "highest"; "high" (the default), on a GPU the same; "medium", on the CPU as "high".

    Raises:
        ArgumentError: for any other value.
    """
    global _conv
    if precision not in PRECISIONS:
        raise ArgumentError(
            complaint("set_float32_conv_precision", "precision", "be 'highest', 'high' or 'medium'", precision)
        )
    _conv = precision


def get_float32_conv_precision() -> str:
    """The setting: "highest", "high" or "medium"."""
    return _conv
