"""How precisely float32 is computed: settings of the process.

- ``set_float32_conv_precision(precision)``: "highest", "high" (the default) or "medium"; convolutions
- ``set_float32_matmul_precision(precision)``: "highest" (the default) or "high"; matrix products on GPUs
- ``get_float32_conv_precision()``, ``get_float32_matmul_precision()``

Convolutions: on the CPU "high" allows Winograd's F(4x4, 3x3) and its like, whose rounding error is a few times that of
a plain float32 sum (at most 12 times, as tests hold; a hundredth of TF32's). "highest" allows what is as exact as a
plain sum. On a GPU both multiply in full float32 precision (by three products of TF32 numbers), and "medium" multiplies
TF32 numbers, with 11 bits instead of 24, as PyTorch does unless it is told otherwise. docs/math/conv.md.

Matrix products: "high" allows TF32 on tensor cores (from Ampere on): factors are rounded to 11 significant bits, their
products are added up in float32. docs/numerics.md.
"""

from __future__ import annotations

from nnlab.errors import ArgumentError, complaint

_conv = "high"
_matmul = "highest"


def set_float32_conv_precision(precision: str) -> None:
    """Choose the precision of float32 convolutions from now on, in all threads.

    Args:
        precision: "highest"; "high" (the default), on a GPU the same; "medium", on the CPU as "high".

    Raises:
        ArgumentError: for any other value.
    """
    global _conv
    if precision not in ("highest", "high", "medium"):
        must = "be 'highest', 'high' or 'medium'"
        raise ArgumentError(complaint("set_float32_conv_precision", "precision", must, precision))
    _conv = precision


def get_float32_conv_precision() -> str:
    """The setting: "highest", "high" or "medium"."""
    return _conv


def set_float32_matmul_precision(precision: str) -> None:
    """Choose the precision of float32 matrix products on GPUs from now on, in all threads.

    Args:
        precision: "highest" (the default): float32; "high": TF32 where the card has it. The CPU, ``emulated`` and other
            dtypes do not look at it, nor do convolutions, which have a setting of their own.

    Raises:
        ArgumentError: for any other value (PyTorch's "medium" too: there are no products of bfloat16 parts here).
    """
    global _matmul
    if precision not in ("highest", "high"):
        raise ArgumentError(complaint("set_float32_matmul_precision", "precision", "be 'highest' or 'high'", precision))
    _matmul = precision


def get_float32_matmul_precision() -> str:
    """The setting: "highest" or "high"."""
    return _matmul
