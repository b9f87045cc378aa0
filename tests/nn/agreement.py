"""How far a layer's results are from float64's, on a device and in a dtype; docs/agreement.md says what is measured.

Needs NumPy alone, and PyTorch for float64 on the CPU.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import nnlab
from nnlab import nn
from nnlab.backend import get_backend
from nnlab.cuda import launch, tuned
from nnlab.errors import DtypeError
from tests.nn.case import Case
from tests.nn.cases import CASES
from tests.nn.layer_cases import WIDE_CONVOLUTIONS
from tests.nn.running import run

DTYPES = ("float64", "float32", "float16", "bfloat16")
LAYERS = sorted({case.name for case in CASES})
NO_TWIN = "no twin"

# An error, or NO_TWIN, or "-" where the layer declares that it does not take the dtype, or "failed: ...".
Figure = float | str


def rows(name: str) -> list[Case]:
    """The rows of a layer that are measured: the first, the one with most arguments, and that for tensor cores."""
    every = [case for case in CASES if case.name == name]
    busiest = max(every, key=lambda case: len(case.args) + len(case.kwargs) + len(case.call))
    return [case for case in every if any(case is row for row in (every[0], busiest, *WIDE_CONVOLUTIONS))]


def entry(name: str, device: str) -> dict[str, Any]:
    """A layer on a device: its figures by dtype (those that are installed), and its kernel files with their digests."""
    figures: dict[str, Figure] = {}
    with _tensor_cores(device), _launched() as units:
        for dtype in DTYPES:
            if can_measure(device, dtype):
                figures[dtype] = figure(rows(name), device, dtype)
    return {"figures": figures, "kernels": {unit: digest(unit) for unit in sorted(units)}}


def can_measure(device: str, dtype: str) -> bool:
    package = "torch" if (device, dtype) == ("cpu", "float64") else "ml_dtypes" if dtype == "bfloat16" else "numpy"
    return importlib.util.find_spec(package) is not None


def digest(unit: str) -> str:
    """The first digits of the digest of a kernel file with its headers."""
    return tuned.digest(unit)[:8]


def figure(cases: list[Case], device: str, dtype: str) -> Figure:
    """The largest error of some rows of a layer."""
    against_torch = (device, dtype) == ("cpu", "float64")
    cases = [case for case in cases if case.peer or not against_torch]
    if not cases:
        return NO_TWIN
    try:
        return max(_against_torch(case) if against_torch else _error(case, device, dtype) for case in cases)
    except DtypeError:
        return "-"
    except Exception as problem:
        return f"failed: {type(problem).__name__}: {problem}"


def _against_torch(case: Case) -> float:
    import torch

    arrays = case.draw()
    return _distance(run(case, nn, nnlab.tensor, arrays), run(case, torch.nn, torch.tensor, arrays))


def _error(case: Case, device: str, dtype: str) -> float:
    kind = np.dtype(nnlab.types.as_dtype(dtype))

    def narrow(array: np.ndarray) -> nnlab.Tensor:
        return nnlab.tensor(array.astype(kind) if array.dtype.kind == "f" else array)

    def wide(array: np.ndarray) -> nnlab.Tensor:
        return nnlab.tensor(array.astype(kind).astype(np.float64) if array.dtype.kind == "f" else array)

    arrays = case.draw()
    return _distance(run(case, nn, narrow, arrays, device, dtype), run(case, nn, wide, arrays))


def _distance(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> float:
    """Of all arrays the largest difference, divided by the array's largest number."""
    if list(found) != list(wanted):
        raise ValueError(f"results {list(found)} are not {list(wanted)}")
    worst = 0.0
    for name, value in wanted.items():
        if value.shape != found[name].shape:
            raise ValueError(f"{name} has shape {found[name].shape}, not {value.shape}")
        if value.size:
            difference = float(np.abs(found[name].astype(np.float64) - value).max())
            error = difference / (float(np.abs(value).max()) or 1.0)
            worst = max(worst, math.inf if math.isnan(error) else error)
    return worst


@contextmanager
def _tensor_cores(device: str) -> Iterator[None]:
    """``emulated`` launches what a card with tensor cores would."""
    be, emulates = get_backend(device), device == "emulated"
    if emulates:
        be.tensor_cores = True
    try:
        yield
    finally:
        if emulates:
            be.tensor_cores = False


@contextmanager
def _launched() -> Iterator[set[str]]:
    """The kernel files of all launches inside the context."""
    units: set[str] = set()
    start = launch.run

    def note(be: Any, ready: launch.Launch) -> None:
        units.add(ready.unit)
        start(be, ready)

    launch.run = note
    try:
        yield units
    finally:
        launch.run = start
