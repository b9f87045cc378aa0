"""The CPU: NumPy arrays."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from nnlab.backend import Device
from nnlab.backend.memory import pool


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
        return np.errstate(all="ignore")

    def products(self) -> AbstractContextManager[None]:
        return nullcontext()

    def empty_cache(self) -> None:
        """Give memory that no array uses back to the operating system."""
        pool.trim()
