"""Making tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnlab import types
from nnlab.autograd.shape import sizes
from nnlab.autograd.tape import wrap
from nnlab.autograd.tensor import Tensor
from nnlab.backend import get_backend
from nnlab.errors import DtypeError
from nnlab.random import Generator, default_generator


def _finish(host: np.ndarray, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    host = host.astype(types.as_dtype(dtype), copy=False) if dtype is not None else host
    be = get_backend(device or "cpu")
    return wrap(be, be.asarray(host)).requires_grad_(requires_grad)


def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of the data.

    Args:
        data: numbers, nested sequences, a NumPy array or a Tensor. Python floats become float32, ints int64.
        dtype: default: taken from the data.
        device: default: that of a Tensor given as data, else the CPU.
        requires_grad: whether gradients with respect to it are wanted.
    """
    if isinstance(data, Tensor):
        return data.detach().to(device=device, dtype=dtype, copy=True).requires_grad_(requires_grad)
    if isinstance(data, list | tuple) and any(isinstance(v, Tensor) for v in data):
        data = [v.tolist() for v in data]
    typed = hasattr(data, "dtype")
    try:
        host = np.array(data)
    except ValueError as error:
        raise DtypeError(f"[tensor] the data is not a regular array of numbers: {error}") from error
    if types.kind(host.dtype) not in "biuf":
        raise DtypeError(f"[tensor] the data must be numbers, got dtype {host.dtype}")
    if dtype is None:
        dtype = host.dtype if typed else (types.DEFAULT_FLOAT if host.dtype == types.float64 else host.dtype)
    return _finish(host, dtype, device, requires_grad)


def from_numpy(array: np.ndarray) -> Tensor:
    """A CPU tensor that shares the memory of a NumPy array."""
    if not isinstance(array, np.ndarray):
        raise DtypeError(f"[from_numpy] a NumPy array is needed, got {type(array).__name__}")
    types.as_dtype(array.dtype)
    return wrap(get_backend("cpu"), array)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor, sharing memory with the data where that is possible."""
    out = data if isinstance(data, Tensor) else from_numpy(data) if isinstance(data, np.ndarray) else tensor(data)
    return out.to(device=device, dtype=dtype)


def from_dlpack(value: Any) -> Tensor:
    """A tensor sharing the memory of any object with ``__dlpack__`` (PyTorch, JAX, CuPy, NumPy arrays)."""
    kind, number = value.__dlpack_device__()
    device = {1: "cpu", 3: "cpu", 2: f"cuda:{number}"}.get(int(kind))
    if device is None:
        raise DtypeError(f"[from_dlpack] memory of DLPack device type {int(kind)} is not supported")
    be = get_backend(device)
    array = be.from_dlpack(value)
    types.as_dtype(array.dtype)
    return wrap(be, array)


def full(
    size: Sequence[int], fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of one value; the dtype follows the value if not given."""
    be = get_backend(device or "cpu")
    chosen = types.python_dtype(fill_value) if dtype is None else types.as_dtype(dtype)
    return wrap(be, be.xp.full(tuple(size), fill_value, dtype=chosen)).requires_grad_(requires_grad)


def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of a shape, float32 if not said otherwise."""
    return full(sizes(size), 0.0, dtype=dtype, device=device, requires_grad=requires_grad)


def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of a shape, float32 if not said otherwise."""
    return full(sizes(size), 1.0, dtype=dtype, device=device, requires_grad=requires_grad)


def empty(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Memory of a shape with no defined values."""
    be = get_backend(device or "cpu")
    chosen = types.DEFAULT_FLOAT if dtype is None else types.as_dtype(dtype)
    return wrap(be, be.xp.empty(sizes(size), dtype=chosen)).requires_grad_(requires_grad)


def zeros_like(input: Tensor, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros with the shape, dtype and device of a tensor."""
    return input.new_full(input.shape, 0, dtype).requires_grad_(requires_grad)


def ones_like(input: Tensor, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones with the shape, dtype and device of a tensor."""
    return input.new_full(input.shape, 1, dtype).requires_grad_(requires_grad)


def full_like(input: Tensor, fill_value: Any, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """One value with the shape, dtype and device of a tensor."""
    return input.new_full(input.shape, fill_value, dtype).requires_grad_(requires_grad)


def arange(start: Any, end: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Values from ``start`` (0 if only one bound is given) to ``end`` exclusive; int64 for integers, else float32."""
    if end is None:
        start, end = 0, start
    whole = all(isinstance(v, int) for v in (start, end, step))
    return _finish(np.arange(start, end, step), dtype or (types.int64 if whole else types.DEFAULT_FLOAT), device, False)


def linspace(start: float, end: float, steps: int, *, dtype: Any = None, device: Any = None) -> Tensor:
    """``steps`` values evenly from ``start`` to ``end`` inclusive."""
    return _finish(np.linspace(start, end, steps), dtype or types.DEFAULT_FLOAT, device, False)


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Identity matrix (n, m)."""
    return _finish(np.eye(n, m), dtype or types.DEFAULT_FLOAT, device, False)


def _draw(
    name: str, size: tuple[Any, ...], generator: Generator | None, dtype: Any, device: Any, requires_grad: bool
) -> Tensor:
    values = getattr((generator or default_generator).numpy(), name)(sizes(size))
    return _finish(np.asarray(values), dtype or types.DEFAULT_FLOAT, device, requires_grad)


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal numbers (mean 0, deviation 1), drawn on the host: the same on every device."""
    return _draw("standard_normal", size, generator, dtype, device, requires_grad)


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform numbers in [0, 1), drawn on the host: the same on every device."""
    return _draw("random", size, generator, dtype, device, requires_grad)


def randint(
    low: int,
    high: int,
    size: Sequence[int],
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
) -> Tensor:
    """Uniform integers in low..high-1, drawn on the host: the same on every device."""
    values = (generator or default_generator).numpy().integers(low, high, tuple(size))
    return _finish(np.asarray(values), dtype or types.int64, device, False)


def randperm(n: int, *, generator: Generator | None = None, device: Any = None) -> Tensor:
    """A random order of 0..n-1."""
    return _finish((generator or default_generator).numpy().permutation(n), types.int64, device, False)
