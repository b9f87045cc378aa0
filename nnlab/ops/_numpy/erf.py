"""The error function on arrays.

For x >= 0, erfc(x) = exp(-x**2) / (1 + 2 x) * p(t) with t = (x - k) / (x + k) between -1 and 1 and k = 3.75, where p is
so smooth that one polynomial holds for all x (Shepherd and Laframboise, "Chebyshev approximation of
(1 + 2x) exp(x**2) erfc x in 0 <= x < infinity", Mathematics of Computation 36, 1981). Up to 1, where 1 - erfc(x) would
lose digits, erf(x) = x * q(x**2). The coefficients, constant term first, are those of Chebyshev series of the two
functions, computed with 60 digits and cut where the rest is below the rounding error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnlab.backend import Backend
from nnlab.ops._numpy import pointwise

_K = 3.75
# fmt: off
_P32 = (
    1.2375126192677, -0.1402406583213864, 0.003586270394024618, 0.08227841998347046, -0.10881427014905069,
    0.09229076959130378, -0.05864685873554614, 0.02840925236412726, -0.009844494859674952, 0.001675912217981131,
    0.0003963076129893627, -0.00022411674674416022,
)
_P64 = (
    1.2375126308378275, -0.14024059858554525, 0.0035854154854790257, 0.08227673848999506, -0.10880393014244462,
    0.09230432116428125, -0.05869339857664934, 0.02836227737211114, -0.009746579683265262, 0.0017556261651970652,
    0.000293714378044958, -0.00029015535246077655, 5.164652974177416e-05, 2.2387565714911816e-05,
    -1.1438048033346894e-05, -9.792625707303523e-07, 1.7419821586224816e-06, -5.084465378687302e-08,
    -2.4857126248016745e-07, 1.879082322370048e-08, 3.197926671666804e-08, -1.9551358868985616e-09,
    -2.623107347133476e-09,
)
_Q32 = (
    1.1283791658815026, -0.3761262690358044, 0.11283597463488053, -0.026854328796067244, 0.005189311942686617,
    -0.0008018854992786387, 7.882497110086663e-05,
)
_Q64 = (
    1.1283791670955126, -0.3761263890318375, 0.11283791670954882, -0.026866170645077334, 0.005223977624823223,
    -0.0008548326981129666, 0.00012055331122299266, -1.4925595519506043e-05, 1.6461004480962034e-06,
    -1.6350354461959655e-07, 1.4660051998394848e-08, -1.1373902296430911e-09, 5.958930743134941e-11,
)
# fmt: on
# Beyond this erfc and normal_cdf are 0 in float64; larger numbers, and infinity, would only overflow.
_FAR = 40.0


def _horner(coefficients: Sequence[float], t: Any) -> Any:
    y = t * coefficients[-1]
    y += coefficients[-2]
    for c in coefficients[-3::-1]:
        y *= t
        y += c
    return y


def _erfc(xp: Any, size: Any, square: float = 1.0) -> Any:
    """erfc(sqrt(square) * size) for an array of float32 or float64, not negative."""
    size = xp.minimum(size, _FAR)
    x = size if square == 1 else size * square**0.5
    y = _horner(_P32 if x.dtype.itemsize == 4 else _P64, (x - _K) / (x + _K))
    # exp(-x**2) with the square split, near * near exact: the rounding error of x**2 would be multiplied by x**2.
    near = xp.rint(size * 16)
    near *= 1 / 16
    y *= xp.exp(near * near * -square)
    y *= xp.exp((near - size) * (near + size) * square)
    y /= 1 + 2 * x
    return y


def _erf(xp: Any, x: Any) -> Any:
    size = xp.abs(x)
    inside = xp.minimum(size, 1)
    small = inside * _horner(_Q32 if x.dtype.itemsize == 4 else _Q64, inside * inside)
    return xp.copysign(xp.where(size < 1, small, 1 - _erfc(xp, size)), x)


def _normal_cdf(xp: Any, x: Any) -> Any:
    tail = _erfc(xp, xp.abs(x), 0.5)
    tail *= 0.5
    return xp.where(x > 0, 1 - tail, tail)


def erf(be: Backend, *, x: Any) -> Any:
    return pointwise.apply(be, function=_erf, x=x)


def normal_cdf(be: Backend, *, x: Any) -> Any:
    return pointwise.apply(be, function=_normal_cdf, x=x)
