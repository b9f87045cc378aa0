"""Devices, and the backend (array module and transfers) behind each.

A device is named as in PyTorch: ``cpu``, ``cuda`` (the first card) or ``cuda:N``; on ``emulated`` the CPU runs
the GPU's kernels.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any, Protocol

import numpy as np

from nnlab.errors import DeviceError


class Device:
    """A place where arrays live: a type (``cpu``, ``cuda`` or ``emulated``) and an index.

    >>> Device("cuda:1").index
    1
    """

    __slots__ = ("index", "type")
    type: str
    index: int

    def __init__(self, name: str | Device, index: int | None = None) -> None:
        if isinstance(name, Device):
            kind, number = name.type, name.index
        else:
            kind, _, tail = str(name).partition(":")
            if tail and not tail.isdecimal():
                raise DeviceError(f"[device] must be 'cpu', 'cuda', 'cuda:N' or 'emulated', got {name!r}")
            number = int(tail) if tail else 0
        if kind not in ("cpu", "cuda", "emulated") or (kind != "cuda" and number != 0):
            raise DeviceError(f"[device] must be 'cpu', 'cuda', 'cuda:N' or 'emulated', got {str(name)!r}")
        self.type = kind
        self.index = number if index is None else index

    def __str__(self) -> str:
        return self.type if self.type != "cuda" else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        return f"device({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            other = Device(other)
        return isinstance(other, Device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))


class Backend(Protocol):
    """What every device module provides. Arrays are of the device's own array type."""

    device: Device

    @property
    def host_memory(self) -> bool:
        """Whether arrays are NumPy arrays: NumPy's own functions, threads and scratch memory may be used."""

    @property
    def xp(self) -> Any:
        """The array module."""

    def asarray(self, host: np.ndarray) -> Any:
        """A NumPy array as an array of this device (no copy on the CPU, else a copy)."""

    def to_numpy(self, array: Any) -> np.ndarray:
        """An array of this device as a NumPy array (no copy on the CPU, else a synchronising copy)."""

    def is_array(self, value: Any) -> bool:
        """Whether a value is an array of this device's type."""

    def from_dlpack(self, value: Any) -> Any:
        """Another library's array as one of this device, sharing its memory."""

    def synchronize(self) -> None:
        """Wait until everything queued on the device is done."""

    def empty_cache(self) -> None:
        """Give back memory that is kept for arrays to come."""

    def quiet(self) -> AbstractContextManager[None]:
        """Context in which overflow, 0/0 and the like give infinity and NaN without a warning, as on a GPU."""

    def products(self) -> AbstractContextManager[None]:
        """Context in which matrix products of this thread follow ``nnlab.set_float32_matmul_precision``."""


@cache
def _backend(kind: str, index: int) -> Backend:
    if kind == "cpu":
        from nnlab.backend.cpu import CpuBackend

        return CpuBackend()
    if kind == "emulated":
        from nnlab.backend import emulated

        reason = emulated.why_unusable()
        if reason is not None:
            raise DeviceError(f"[device] 'emulated' is not usable: {reason}")
        return emulated.EmulatedBackend()
    from nnlab.backend import cuda

    reason = cuda.why_unusable()
    if reason is not None:
        raise DeviceError(f"[device] 'cuda:{index}' is not usable: {reason}")
    return cuda.CudaBackend(index)


def get_backend(device: str | Device) -> Backend:
    """The backend of a device, made once.

    Raises:
        DeviceError: the device does not exist or cannot be used; the message says why.
    """
    device = Device(device)
    return _backend(device.type, device.index)


def resolve(device: str | Device) -> tuple[Device, str]:
    """Turn a device choice into a device that works, and say why.

    ``auto`` takes the first usable GPU, else the CPU; any other name must be usable.

    Returns:
        The device and a sentence for the user, e.g. ``(cpu, "no usable GPU: CuPy is not installed ...")``.
    """
    if device != "auto":
        return get_backend(device).device, "as asked"
    from nnlab.backend import cuda

    reason = cuda.why_unusable()
    if reason is None:
        return Device("cuda"), "a usable GPU was found"
    return Device("cpu"), f"no usable GPU: {reason}"
