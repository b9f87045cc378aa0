"""One table of tolerances: how far two computations of the same sum may differ."""

from __future__ import annotations

from typing import Any

from nnlab import types

# Unit round-off of each dtype and the dtype in which its sums are added up (docs/numerics.md).
_EPS = {
    "float16": (2.0**-11, 2.0**-24),
    "bfloat16": (2.0**-8, 2.0**-24),
    "float32": (2.0**-24, 2.0**-24),
    "float64": (2.0**-53, 2.0**-53),
}


def tolerance(dtype: Any, terms: int = 1) -> float:
    """Largest error, relative to the size of the terms, that rounding explains for a sum of ``terms`` products.

    Rounding errors of a sum behave like a random walk, sqrt(terms) steps of the accumulation's unit round-off, and the
    result is rounded once to ``dtype``; 8 covers the largest of many such results.
    """
    storage, accumulation = _EPS[types.as_dtype(dtype).name]
    return float(8 * (storage + accumulation * max(terms, 1) ** 0.5))
