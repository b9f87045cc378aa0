"""How precisely float32 is computed: settings of the process.

- ``set_float32_conv_precision(precision)``: "high" (the default) or "highest"; convolutions on the CPU
- ``set_float32_matmul_precision(precision)``: "highest" (the default) or "high"; matrix products on GPUs
- ``get_float32_conv_precision()``, ``get_float32_matmul_precision()``

"high" allows convolutions Winograd's F(4x4, 3x3) and its like, whose rounding error is a few times that of a plain
float32 sum (at most 12 times, as tests hold; a hundredth of TF32's). "highest" allows what is as exact as a plain sum.
docs/math/conv.md.

"high" allows matrix products TF32 on tensor cores (from Ampere on): factors are rounded to 11 significant bits, their
products are added up in float32. docs/numerics.md.
"""

from __future__ import annotations

from nnlab.errors import ArgumentError, complaint

PRECISIONS = ("highest", "high")

_conv = "high"
_matmul = "highest"


def _checked(setting: str, precision: str) -> str:
    if precision not in PRECISIONS:
        raise ArgumentError(complaint(setting, "precision", "be 'highest' or 'high'", precision))
    return precision


def set_float32_conv_precision(precision: str) -> None:
    """Choose the precision of float32 convolutions on the CPU from now on, in all threads.

    Args:
        precision: "high" (the default) or "highest". GPUs and float64 do not look at it.

    Raises:
        ArgumentError: for any other value.
    """
    global _conv
    _conv = _checked("set_float32_conv_precision", precision)


def get_float32_conv_precision() -> str:
    """The setting: "high" or "highest"."""
    return _conv


def set_float32_matmul_precision(precision: str) -> None:
    """Choose the precision of float32 matrix products on GPUs from now on, in all threads.

    Args:
        precision: "highest" (the default): float32; "high": TF32 where the card has it. The CPU, ``emulated`` and other
            dtypes do not look at it, and convolutions on GPUs, which are kernels of our own, are always float32.

    Raises:
        ArgumentError: for any other value (PyTorch's "medium" too: there are no products of bfloat16 parts here).
    """
    global _matmul
    _matmul = _checked("set_float32_matmul_precision", precision)


def get_float32_matmul_precision() -> str:
    """The setting: "highest" or "high"."""
    return _matmul
