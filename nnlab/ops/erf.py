"""The error function and the normal distribution function.

    erf(x)        = 2 / sqrt(pi) * integral of exp(-u**2) from 0 to x
    normal_cdf(x) = (1 + erf(x / sqrt(2))) / 2, with all its digits for negative x too

Any shape; half types are computed in float32. NumPy has neither function, so both are polynomials of our own
(``_numpy/erf.py``), the same on every device. Errors stay below 4 (erf) and 12 (normal_cdf, where it
is above the smallest normal number) roundings of the dtype.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops import body


def erf(be: Backend, *, x: Any) -> Any:
    """y, of x's shape."""
    return body(be, "erf").erf(be, x=x)


def normal_cdf(be: Backend, *, x: Any) -> Any:
    """y, of x's shape."""
    return body(be, "erf").normal_cdf(be, x=x)
