"""Dtypes and the promotion table (PyTorch's rules).

An operand is of one of three categories: a tensor with dimensions, a 0-d tensor, or a Python number. The result takes
its kind (bool < integer < floating) from all operands, and its width from the strongest category that has that kind:
``float32 (2, 3) * float64 ()`` is float32, ``int64 (3,) * 1.5`` is float32 (the default floating dtype).

NumPy has no bfloat16. Its dtype is that of the package ml_dtypes, which is loaded when ``types.bfloat16`` (or the name
``"bfloat16"``) is first used. To NumPy it is of kind ``"V"`` and promotes with nothing: ask :func:`kind`,
:func:`is_floating` and :func:`promote` of this module instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np

from nnlab.errors import DtypeError, optional_import

float16 = np.dtype(np.float16)
float32 = np.dtype(np.float32)
float64 = np.dtype(np.float64)
int8 = np.dtype(np.int8)
int16 = np.dtype(np.int16)
int32 = np.dtype(np.int32)
int64 = np.dtype(np.int64)
uint8 = np.dtype(np.uint8)
bool_ = np.dtype(np.bool_)

DTYPES: dict[str, np.dtype[Any]] = {
    "float16": float16,
    "float32": float32,
    "float64": float64,
    "int8": int8,
    "int16": int16,
    "int32": int32,
    "int64": int64,
    "uint8": uint8,
    "bool": bool_,
}
DEFAULT_FLOAT = float32

_KIND_RANK = {"b": 0, "u": 1, "i": 1, "f": 2}
_NAMED: dict[str, np.dtype[Any]] = {"half": float16, "float": float32, "double": float64, "int": int32, "long": int64}
_PYTHON_DTYPE: dict[type, np.dtype[Any]] = {bool: bool_, int: int64, float: DEFAULT_FLOAT}

Number = bool | int | float


@cache
def _bfloat16() -> np.dtype[Any]:
    module = optional_import("ml_dtypes", extra="bfloat16", purpose="[nnlab] the dtype bfloat16")
    return np.dtype(module.bfloat16)


def __getattr__(name: str) -> Any:
    if name == "bfloat16":
        return _bfloat16()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def as_dtype(value: Any) -> np.dtype[Any]:
    """Any spelling of a supported dtype (NumPy dtype or type, Python type, name) as a NumPy dtype.

    Raises:
        DtypeError: nnlab has no such dtype.
        MissingExtraError: bfloat16 without the package ml_dtypes.
    """
    if isinstance(value, str) and value == "bfloat16":
        return _bfloat16()
    if isinstance(value, str) and value in _NAMED:
        return _NAMED[value]
    if isinstance(value, type) and value in _PYTHON_DTYPE:
        return _PYTHON_DTYPE[value]
    try:
        name = np.dtype(value).name
    except TypeError:
        name = ""
    if name == "bfloat16":
        return _bfloat16()
    if name not in DTYPES:
        raise DtypeError(f"[nnlab] dtype must be one of {', '.join(DTYPES)}, bfloat16, got {value!r}")
    return DTYPES[name]


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is ml_dtypes' bfloat16; loads nothing."""
    return dtype.kind == "V" and dtype.type.__name__ == "bfloat16"


def kind(dtype: np.dtype[Any]) -> str:
    """NumPy's letter for the kind of a dtype (b, u, i, f); bfloat16 is ``"f"``."""
    return "f" if is_bfloat16(dtype) else dtype.kind


def rank(dtype: np.dtype[Any]) -> int:
    """0 for bool, 1 for integers, 2 for floating dtypes."""
    return _KIND_RANK[kind(dtype)]


def is_floating(dtype: np.dtype[Any]) -> bool:
    """Whether tensors of this dtype can carry gradients."""
    return kind(dtype) == "f"


def wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which data of this dtype is added up: float32 for half types, other dtypes themselves."""
    return float32 if dtype.itemsize == 2 and (dtype == float16 or is_bfloat16(dtype)) else dtype


def promote(first: np.dtype[Any], second: np.dtype[Any]) -> np.dtype[Any]:
    """The common dtype of two tensors of equal category.

    Integers never widen a floating dtype: ``int64`` with ``float16`` is ``float16``. The half types ``float16`` and
    ``bfloat16`` meet in ``float32``.
    """
    if first == second:
        return first
    if is_floating(first) != is_floating(second):
        return first if is_floating(first) else second
    if is_bfloat16(first) or is_bfloat16(second):
        return float64 if float64 in (first, second) else float32
    return DTYPES[np.promote_types(first, second).name]


def python_dtype(value: Number) -> np.dtype[Any]:
    """The dtype that a Python number has on its own: bool, int64 or the default floating dtype."""
    return bool_ if isinstance(value, bool) else int64 if isinstance(value, int) else DEFAULT_FLOAT


def result_type(operands: Iterable[tuple[int, np.dtype[Any]]]) -> np.dtype[Any]:
    """The dtype of an operation's result.

    Args:
        operands: for each its category (2: tensor with dimensions, 1: 0-d tensor, 0: Python number) and its dtype.
    """
    best: dict[int, np.dtype[Any]] = {}
    for category, dtype in operands:
        best[category] = promote(best[category], dtype) if category in best else dtype
    result: np.dtype[Any] | None = None
    for category in sorted(best, reverse=True):
        dtype = best[category]
        if result is None or rank(dtype) > rank(result):
            result = dtype
    assert result is not None
    return result
