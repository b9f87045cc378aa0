"""A stand-in for a GPU: NumPy behind arrays that refuse what CuPy's arrays refuse.

Its arrays are no NumPy arrays: NumPy functions do not take them, they do not mix with host arrays, and they never
convert silently. Code that runs here on "cuda" has kept to the backend. What only a GPU can show (kernels, streams,
CuPy's own behaviour) is not tested by it.
"""

from __future__ import annotations

import importlib.util
from contextlib import nullcontext
from typing import Any

import numpy as np

from nnlab.backend import Device


def _in(value: Any) -> Any:
    if isinstance(value, StrictArray):
        return value._a
    if isinstance(value, np.ndarray):
        raise TypeError("a host array was given to a device function")
    if isinstance(value, list | tuple):
        return type(value)(_in(v) for v in value)
    return value


def _row_major(result: Any) -> Any:
    """CuPy's arithmetic gives arrays in row-major order whatever that of its arguments. Those of few dimensions keep it
    here, so that sums over them have the CPU's bits."""
    return np.asarray(result, order="C") if isinstance(result, np.ndarray) and result.ndim > 2 else result


def _in_dict(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _in(value) for name, value in values.items()}


def _out(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and not isinstance(value, np.dtype):
        return StrictArray(np.asarray(value))
    if isinstance(value, list | tuple):
        return type(value)(_out(v) for v in value)
    return value


def _wrapped(function: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        return _out(function(*_in(args), **_in_dict(kwargs)))

    return call


class StrictArray:
    """A device array. Results of methods and operators are device arrays too, 0-d ones included, as in CuPy."""

    __array_ufunc__ = None

    def __init__(self, array: np.ndarray) -> None:
        self._a = array

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("implicit conversion of a device array to NumPy")

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._a, name)
        if name in ("shape", "dtype", "ndim", "size", "itemsize", "nbytes", "strides", "flags", "item", "tolist"):
            return value
        if name == "base":
            return None if value is None else StrictArray(value)
        return _wrapped(value) if callable(value) else _out(value)

    def __len__(self) -> int:
        return len(self._a)

    def __bool__(self) -> bool:
        return bool(self._a)

    def __int__(self) -> int:
        return int(self._a)

    def __float__(self) -> float:
        return float(self._a)

    def __getitem__(self, index: Any) -> Any:
        return _out(self._a[_in(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self._a[_in(index)] = _in(value)


def _operator(name: str) -> Any:
    def call(self: StrictArray, *others: Any) -> Any:
        result = getattr(self._a, name)(*_in(others))
        return self if result is self._a else _out(_row_major(result))

    return call


for _name in (
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
):
    for _prefix in ("", "r", "i"):
        setattr(StrictArray, f"__{_prefix}{_name}__", _operator(f"__{_prefix}{_name}__"))
for _name in ("lt", "le", "gt", "ge", "eq", "ne", "neg", "abs", "invert", "pos"):
    setattr(StrictArray, f"__{_name}__", _operator(f"__{_name}__"))


class _Module:
    """numpy under cupy's restrictions: names that CuPy has not are missing here too (where CuPy is installed)."""

    def __init__(self, module: Any, like: Any) -> None:
        self._module, self._like = module, like

    def __getattr__(self, name: str) -> Any:
        if self._like is not None and not hasattr(self._like, name):
            raise AttributeError(f"CuPy has no {name!r}")
        value = getattr(self._module, name)
        if isinstance(value, type) or not callable(value):
            return value
        if isinstance(value, np.ufunc):
            return _Ufunc(value)
        if name in ("concatenate", "where"):
            return _wrapped(lambda *args, **kwargs: _row_major(value(*args, **kwargs)))
        return _wrapped(value)


class _Ufunc:
    def __init__(self, ufunc: np.ufunc) -> None:
        self._ufunc = ufunc

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        out = kwargs.get("out")
        result = _wrapped(lambda *given, **named: _row_major(self._ufunc(*given, **named)))(*args, **kwargs)
        return result if out is None else out

    def __getattr__(self, name: str) -> Any:
        return _wrapped(getattr(self._ufunc, name))


class StrictBackend:
    """A backend named cuda:0 over :class:`StrictArray`."""

    host_memory = False

    def __init__(self) -> None:
        like = __import__("cupy") if importlib.util.find_spec("cupy") else None
        self.device = Device("cuda")
        self.xp: Any = _Module(np, like)
        self.transfers = 0

    def asarray(self, host: np.ndarray) -> StrictArray:
        assert isinstance(host, np.ndarray)
        return StrictArray(host.copy(order="K"))

    def to_numpy(self, array: StrictArray) -> np.ndarray:
        self.transfers += 1
        return array._a.copy()

    def is_array(self, value: Any) -> bool:
        return isinstance(value, StrictArray)

    def from_dlpack(self, value: Any) -> StrictArray:
        return StrictArray(np.from_dlpack(value))

    def synchronize(self) -> None:
        return None

    def empty_cache(self) -> None:
        pass

    def quiet(self) -> Any:
        return np.errstate(all="ignore")

    def products(self) -> Any:
        return nullcontext()
