"""Automatic mixed precision: which dtype the arguments of a function get inside ``autocast``.

A function is listed by a decorator above it: ``low_precision`` (products) or ``in_float32`` (where digits count). While
it runs autocast is off. All other functions take what they are given. docs/numerics.md has the lists.

Source: Micikevicius et al., "Mixed precision training", ICLR 2018.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from contextlib import ContextDecorator
from typing import Any, Self, TypeVar, cast

from nnlab import types
from nnlab.autograd.tape import TensorCore, is_grad_enabled
from nnlab.backend import Device
from nnlab.errors import DtypeError, complaint

Function = TypeVar("Function", bound=Callable[..., Any])


class _Mode(threading.local):
    dtypes: dict[str, Any] = {}  # the low precision of each type of device that autocast is on for
    cache: dict[Any, Any] | None = None  # of weights: (tensor, array, version, copy)


_mode = _Mode()


class autocast(ContextDecorator):
    """Context manager or decorator: products in a half type, losses, norms, exponentials and sums in float32.

    Weights stay float32, and so do their gradients. The setting belongs to the thread; contexts nest. Backward passes
    compute in the dtypes of their forward passes, inside and outside.

    >>> with autocast("cpu"):
    ...     loss = nn.functional.cross_entropy(model(images), labels)
    >>> loss.backward()

    Args:
        device_type: which tensors are meant: "cpu", "cuda" or "emulated".
        dtype: float16 or bfloat16; default: bfloat16 on the CPU, float16 on the others.
        enabled: with False the context switches autocast off for that type of device.
        cache_enabled: whether copies of weights in low precision are kept until the outermost context is left (a weight
            that changes is copied anew).

    Raises:
        DeviceError, DtypeError: for other devices and dtypes.
        MissingExtraError: bfloat16 without the package ml_dtypes.

    float16 has no numbers below 6e-8: small gradients need :class:`nnlab.amp.GradScaler`.
    """

    def __init__(self, device_type: str, dtype: Any = None, enabled: bool = True, cache_enabled: bool = True) -> None:
        self._arguments = device_type, dtype, enabled, cache_enabled
        self._type, self._enabled, self._caching = Device(device_type).type, bool(enabled), bool(cache_enabled)
        self._before: list[tuple[dict[str, Any], dict[Any, Any] | None]] = []
        self._dtype = None
        if self._enabled:
            default = "bfloat16" if self._type == "cpu" else "float16"
            self._dtype = types.as_dtype(default if dtype is None else dtype)
            if not (self._dtype == types.float16 or types.is_bfloat16(self._dtype)):
                raise DtypeError(complaint("autocast", "dtype", "be float16 or bfloat16", self._dtype.name))

    def __enter__(self) -> None:
        self._before.append((_mode.dtypes, _mode.cache))
        others = {kind: dtype for kind, dtype in _mode.dtypes.items() if kind != self._type}
        _mode.dtypes = {**others, self._type: self._dtype} if self._enabled else others
        if not self._caching:
            _mode.cache = None
        elif _mode.cache is None:
            _mode.cache = {}

    def __exit__(self, *exc: object) -> None:
        _mode.dtypes, _mode.cache = self._before.pop()

    def _recreate_cm(self) -> Self:
        return type(self)(*self._arguments)


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether autocast is on in this thread for tensors on this type of device."""
    return Device(device_type).type in _mode.dtypes


class autocast_off:
    """Context manager: autocast is off for all devices."""

    def __enter__(self) -> None:
        self._before, _mode.dtypes = _mode.dtypes, {}

    def __exit__(self, *exc: object) -> None:
        _mode.dtypes = self._before


def low_precision(function: Function) -> Function:
    """Decorator: inside autocast floating tensors among the arguments go to the low precision, float64 excepted."""
    return _listed(function, None)


def in_float32(function: Function) -> Function:
    """Decorator: inside autocast half types among the arguments go to float32."""
    return _listed(function, types.float32)


def _listed(function: Function, dtype: Any) -> Function:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not _mode.dtypes:
            return function(*args, **kwargs)
        args = tuple(_converted(value, dtype) for value in args)
        kwargs = {name: _converted(value, dtype) for name, value in kwargs.items()}
        with autocast_off():
            return function(*args, **kwargs)

    return cast(Function, call)


def _converted(value: Any, dtype: Any) -> Any:
    """A tensor in the dtype (None: the low precision of its device); everything else as it is."""
    if not isinstance(value, TensorCore):
        return value
    low, have = _mode.dtypes.get(value._be.device.type), value._data.dtype
    target = low if dtype is None else dtype
    if low is None or have in (target, types.float64) or not types.is_floating(have):
        return value
    tensor = cast(Any, value)
    cache = _mode.cache
    if dtype is not None or cache is None or not value._requires_grad or value._node is not None:
        return tensor.to(dtype=target)
    key = id(value), target
    if key in cache:
        _, array, version, copy = cache[key]
        recorded = copy._node is not None or not is_grad_enabled()
        if array is value._data and version == value._version.count and recorded:
            return copy
    copy = tensor.to(dtype=target)
    cache[key] = value, value._data, value._version.count, copy
    return copy
