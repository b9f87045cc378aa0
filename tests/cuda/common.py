"""What the tests of kernels share: launches on the device emulated, whole or from a broken copy of the sources."""

from __future__ import annotations

import shutil
from pathlib import Path

import ml_dtypes  # from here on NumPy knows the name "bfloat16"
import numpy as np
import pytest

from nnlab.backend import get_backend
from nnlab.backend.emulated import KernelError
from nnlab.cuda import launch, sources
from tests import emulator
from tests.cuda.case import near

__all__ = ["CPU", "DTYPES", "EMULATED", "HALVES", "NOTICED", "break_sources", "equal", "near", "plain", "small_grid"]

CPU, EMULATED = get_backend("cpu"), emulator.backend()
DTYPES = ["float32", "float64", "float16", "bfloat16"]
HALVES = ["float16", "bfloat16"]
NOTICED = (AssertionError, KernelError)  # what a broken kernel makes of its tests


def break_sources(monkeypatch: pytest.MonkeyPatch, folder: Path, file: str, old: str, new: str) -> None:
    """From now on kernels run from sources in which ``old``, found once in ``file``, is ``new``."""
    root = Path(shutil.copytree(sources.folder(), folder / "kernels"))
    text = (root / file).read_text()
    assert text.count(old) == 1, old
    (root / file).write_text(text.replace(old, new))

    monkeypatch.setattr(sources, "folder", lambda: root)
    monkeypatch.setattr(launch, "_image", launch._image.__wrapped__)


def small_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Launches of 2 blocks of 32 threads: each thread walks over several elements."""
    monkeypatch.setattr(launch, "MAX_BLOCKS", 2)
    monkeypatch.setattr(launch, "BLOCK", 32)


def equal(found: np.ndarray, wanted: np.ndarray, message: str = "") -> None:
    """The same shape, dtype and values, NaN included (NumPy's own comparison takes bfloat16's NaN for unequal)."""
    assert found.dtype == wanted.dtype, message
    np.testing.assert_array_equal(plain(found), plain(wanted), message, strict=True)


def plain(array: np.ndarray) -> np.ndarray:
    """bfloat16 as float32, exactly."""
    return array.astype(np.float32) if array.dtype == ml_dtypes.bfloat16 else array
