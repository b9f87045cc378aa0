"""The CPU: NumPy arrays."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from nnlab.backend import Device
from nnlab.backend.memory import pool

# Elements of NumPy's buffers. Where several rows fit one, NumPy copies a column that is added to them into it, at the
# cost of the addition.
BUFFER = 1 << 10


class _Quiet(np.errstate):
    """Without warnings, and with short buffers."""

    def __enter__(self) -> None:
        super().__enter__()
        np.setbufsize(BUFFER)  # what errstate restores on leaving has the size as well


class CpuBackend:
    """NumPy behind the :class:`nnlab.backend.Backend` interface; arrays are never copied on the way in or out."""

    host_memory = True

    def __init__(self) -> None:
        self.device = Device("cpu")
        self.xp: Any = np

    def asarray(self, host: np.ndarray) -> np.ndarray:
        return host

    def to_numpy(self, array: np.ndarray) -> np.ndarray:
        return array

    def is_array(self, value: Any) -> bool:
        return isinstance(value, np.ndarray)

    def from_dlpack(self, value: Any) -> np.ndarray:
        return np.from_dlpack(value)

    def synchronize(self) -> None:
        return None

    def quiet(self) -> AbstractContextManager[None]:
        return _Quiet(all="ignore")

    def products(self) -> AbstractContextManager[None]:
        return nullcontext()

    def empty_cache(self) -> None:
        """Give memory that no array uses back to the operating system."""
        pool.trim()
