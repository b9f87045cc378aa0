"""Initial values of parameters.

All numbers are drawn on the host, one draw of ``nnlab.random.default_generator`` (or the generator given) a call, in
the tensor's dtype (float32 for float16): the same seed gives the same weights on every device. Each function fills its
tensor in place and returns it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from nnlab.autograd import Tensor, no_grad
from nnlab.autograd.creation import from_numpy
from nnlab.errors import ArgumentError, DtypeError, ShapeError, complaint
from nnlab.random import Generator, default_generator
from nnlab.types import float32, float64, is_floating

Draw = Callable[[np.random.Generator, tuple[int, ...], np.dtype], np.ndarray]


def _fill(name: str, tensor: Tensor, generator: Generator | None, draw: Draw) -> Tensor:
    if not is_floating(tensor.dtype):
        raise DtypeError(complaint(f"init.{name}", "tensor", "be floating point", str(tensor.dtype)))
    dtype = float64 if tensor.dtype == float64 else float32
    host = draw((default_generator if generator is None else generator).numpy(), tuple(tensor.shape), dtype)
    with no_grad():
        return tensor.copy_(from_numpy(host.astype(dtype, copy=False)))


def fans(tensor: Tensor) -> tuple[int, int]:
    """Inputs and outputs of one unit: weight (O, I, *kernel) has fan_in = I * kernel elements, fan_out = O * them."""
    if tensor.ndim < 2:
        raise ShapeError(complaint("init", "tensor", "have at least 2 dimensions", tuple(tensor.shape)))
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor on the standard deviation that a nonlinearity asks for; ``param`` is leaky_relu's slope.

    linear and convolutions 1, sigmoid 1, tanh 5/3, relu sqrt(2), leaky_relu sqrt(2 / (1 + slope**2)), selu 3/4.
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    gains = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 0.75}
    gains |= {f"conv{transpose}{n}d": 1.0 for transpose in ("", "_transpose") for n in (1, 2, 3)}
    if nonlinearity not in gains:
        known = ", ".join([*gains, "leaky_relu"])
        raise ArgumentError(complaint("init.calculate_gain", "nonlinearity", f"be one of {known}", nonlinearity))
    return gains[nonlinearity]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform between a and b."""
    return _fill("uniform_", tensor, generator, lambda g, s, t: g.random(s, t) * t.type(b - a) + t.type(a))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with the given mean and standard deviation."""
    if std < 0:
        raise ArgumentError(complaint("init.normal_", "std", "not be negative", std))
    return _fill("normal_", tensor, generator, lambda g, s, t: g.standard_normal(s, t) * t.type(std) + t.type(mean))


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Normal with the given mean and standard deviation, values outside [a, b] drawn again."""
    if std <= 0 or not a < b:
        raise ArgumentError(complaint("init.trunc_normal_", "std, a, b", "be std > 0 and a < b", (std, a, b)))
    low, high = (a - mean) / std, (b - mean) / std
    nearest = min(max(low, 0.0), high)
    # More than 12 deviations beyond the point of largest density, nothing is ever drawn.
    low, high = max(low, nearest - 12), min(high, nearest + 12)
    common = 0.5 * (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) > 0.2

    def draw(g: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        out = np.empty(math.prod(shape))
        todo = np.arange(out.size)
        while todo.size:
            if common:
                z = g.standard_normal(todo.size)
                good = (z >= low) & (z <= high)
            else:
                z = g.uniform(low, high, todo.size)
                good = g.random(todo.size) < np.exp((nearest**2 - z**2) / 2)
            out[todo[good]] = z[good]
            todo = todo[~good]
        return np.clip(out * std + mean, a, b).reshape(shape)

    return _fill("trunc_normal_", tensor, generator, draw)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """One value everywhere."""
    with no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros."""
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix (cut or padded with zeros if not square)."""
    if tensor.ndim != 2:
        raise ShapeError(complaint("init.eye_", "tensor", "have 2 dimensions", tuple(tensor.shape)))
    with no_grad():
        return tensor.copy_(from_numpy(np.eye(*tensor.shape)))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution weight (O, I, *kernel) that passes its input channels on: one in the middle of the kernel."""
    if tensor.ndim not in (3, 4, 5):
        raise ShapeError(complaint("init.dirac_", "tensor", "have 3, 4 or 5 dimensions", tuple(tensor.shape)))
    if tensor.shape[0] % groups:
        must = f"divide the {tensor.shape[0]} output channels"
        raise ArgumentError(complaint("init.dirac_", "groups", must, groups))
    weight = np.zeros(tensor.shape)
    middle = tuple(n // 2 for n in tensor.shape[2:])
    per_group = tensor.shape[0] // groups
    for group in range(groups):
        for channel in range(min(per_group, tensor.shape[1])):
            weight[(group * per_group + channel, channel, *middle)] = 1
    with no_grad():
        return tensor.copy_(from_numpy(weight))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform in ``+-gain * sqrt(6 / (fan_in + fan_out))``. Source: Glorot and Bengio, AISTATS 2010."""
    bound = gain * math.sqrt(6.0 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with deviation ``gain * sqrt(2 / (fan_in + fan_out))``. Source: Glorot and Bengio, AISTATS 2010."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(fans(tensor))), generator)


def _kaiming_std(name: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(complaint(f"init.{name}", "mode", "be 'fan_in' or 'fan_out'", mode))
    fan = fans(tensor)[0 if mode == "fan_in" else 1]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Uniform in ``+-gain * sqrt(3 / fan)``; a is leaky_relu's slope. Source: He et al., ICCV 2015."""
    bound = math.sqrt(3.0) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal with deviation ``gain / sqrt(fan)``; a is leaky_relu's slope. Source: He et al., ICCV 2015."""
    return normal_(tensor, 0.0, _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """``gain`` times a random matrix (O, rest) with orthonormal rows or columns. Source: Saxe et al., ICLR 2014."""
    if tensor.ndim < 2:
        raise ShapeError(complaint("init.orthogonal_", "tensor", "have at least 2 dimensions", tuple(tensor.shape)))

    def draw(g: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        rows, columns = shape[0], math.prod(shape[1:])
        q, r = np.linalg.qr(g.standard_normal((max(rows, columns), min(rows, columns))))
        # The signs of r's diagonal make the distribution uniform over all orthogonal matrices.
        q *= np.sign(np.diag(r)) * gain
        return (q if rows >= columns else q.T).reshape(shape)

    return _fill("orthogonal_", tensor, generator, draw)
