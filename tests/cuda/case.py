"""What a case of ``tests/cuda/cases`` works with: inputs, and the comparison with the oracle (see CONTRIBUTING.md).

Imports nothing but nnlab, NumPy and pytest: the same cases run on a bare GPU machine.
"""

from __future__ import annotations

import importlib.util
import inspect
import zlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from itertools import product
from typing import Any

import numpy as np
import pytest

from nnlab import types
from nnlab.cuda import launch, sources
from nnlab.cuda.launch import Kernel, Launch
from nnlab.cuda.variants import INDEX_BITS, Variant, launched, own_macros
from nnlab.ops import _cuda
from nnlab.testing import tolerance
from tests.ops.common import rng, scattered

# Orders of threads and blocks. Under the seeds the gate also makes small grids, so that threads take several elements.
ORDERS: tuple[str | int, ...] = ("ascending", "descending", 1, 2)
SMALL = {"MAX_BLOCKS": 2, "BLOCK": 32}

# What NumPy can hold here: bfloat16 needs the package ml_dtypes.
DTYPES = [name for name in launch.FLOATS if name != "bfloat16" or importlib.util.find_spec("ml_dtypes") is not None]


class ScheduleError(AssertionError):
    """Another order of threads gave other bits."""


class Case:
    """One run of a case: the same inputs on every device and under every order.

    Args:
        be: backend of the device.
        dtype: of the data.
        name: of the case; the generator's seed.
        earlier: the results of a run that was compared with the oracle; this run must give their bits.
    """

    def __init__(self, be: Any, dtype: str, name: str, earlier: list[np.ndarray] | None = None) -> None:
        self.be, self.dtype = be, types.as_dtype(dtype)
        self.random = rng(111, zlib.crc32(name.encode()))
        self.results: list[np.ndarray] = []
        self._earlier = earlier

    def normal(self, *shape: int) -> np.ndarray:
        """Standard normal numbers on the host, rounded to the dtype, not contiguous."""
        return self.host(self.random.standard_normal(shape))

    def uniform(self, low: float, high: float, *shape: int) -> np.ndarray:
        return self.host(self.random.uniform(low, high, shape))

    def host(self, values: Any) -> np.ndarray:
        """Numbers as a host array of the dtype, not contiguous."""
        return scattered(np.asarray(values).astype(self.dtype))

    def put(self, host: np.ndarray) -> Any:
        """The array on the device."""
        return self.be.asarray(host)

    def compare(
        self, found: Any, terms: int | None, oracle: Callable[..., Any], *args: Any, scale: float = 0.0, **kwargs: Any
    ) -> None:
        """Compare an array of the device, or several, with what an oracle gives.

        Args:
            found: an array, or a tuple of arrays if the oracle returns a tuple.
            terms: how many terms the longest sum has; None: the result is exact.
            oracle: called with the other arguments, floating host arrays among them as float64; None among its results
                is not compared.
            scale: size of the numbers that the result is a difference of, where that is larger than the result.
        """
        several = found if isinstance(found, tuple) else (found,)
        hosts = [self.be.to_numpy(array) for array in several]
        if self._earlier is None:
            wanted = oracle(*map(_wide, args), **{name: _wide(value) for name, value in kwargs.items()})
            for host, want in zip(hosts, wanted if isinstance(found, tuple) else (wanted,), strict=True):
                if want is not None:
                    near(host, np.asarray(want), terms, scale=scale)
        else:
            for number, host in enumerate(hosts, start=len(self.results)):
                if host.tobytes() != self._earlier[number].tobytes():
                    raise ScheduleError(f"result {number} (from 0) depends on the order of threads")
        self.results += hosts


def _wide(value: Any) -> Any:
    floating = isinstance(value, np.ndarray) and types.is_floating(value.dtype)
    return value.astype(np.float64) if floating else value


def near(found: np.ndarray, wanted: np.ndarray, terms: int | None, message: str = "", scale: float = 0.0) -> None:
    """Equal to the float64 oracle within the tolerance table, relative to the largest finite value (or ``scale``, where
    a result may be the small difference of numbers that large); exactly if ``terms`` is None."""
    assert found.shape == wanted.shape, f"shape {found.shape}, expected {wanted.shape} {message}"
    if terms is None:
        np.testing.assert_array_equal(found.astype(wanted.dtype), wanted, message)
        return
    size = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=scale))
    rtol = tolerance(found.dtype, terms)
    np.testing.assert_allclose(found.astype(np.float64), wanted, rtol=rtol, atol=rtol * size, err_msg=message)


Function = Callable[[Case], None]


def functions(op: str, far: bool) -> dict[str, Function]:
    """The public functions of ``tests/cuda/cases/<op>.py`` by name; those called ``far_...``, or the others."""
    module = import_module(f"tests.cuda.cases.{op}")
    return {
        name: function
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_") and name.startswith("far_") == far
    }


def cases(op: str) -> dict[str, Function]:
    """The cases of an operation that run on every build."""
    return functions(op, far=False)


def dtypes(op: str) -> list[str]:
    """The dtypes that an operation's kernels have."""
    return [name for name in DTYPES if any(name in kernel.dtypes for kernel in _cuda.kernels(op))]


def macro_choices(op: str) -> list[dict[str, int]]:
    """Every choice of values for the macros that the kernels of an operation have of their own."""
    every: dict[str, tuple[int, ...]] = {}
    for kernel in _cuda.kernels(op):
        for name, values in kernel.variants.items():
            every[name] = tuple(dict.fromkeys((*every.get(name, ()), *values)))
    return list(own_macros(Kernel(op, op, {}, variants=every)))


def problems() -> list[tuple[Any, ...]]:
    """Arguments of :func:`run` after the backend: every case on every build."""
    return [
        (op, name, dtype, bits, macros)
        for op in sources.units()
        for name in cases(op)
        for dtype, bits, macros in product(dtypes(op), INDEX_BITS, macro_choices(op))
    ]


def problem_id(problem: tuple[Any, ...]) -> str:
    op, name, dtype, bits, macros = problem
    return "-".join([op, name, dtype, f"{bits}-bit", *(f"{macro}={value}" for macro, value in macros.items())])


def run(
    be: Any, op: str, name: str, dtype: str, bits: int, macros: Mapping[str, int], orders: tuple[Any, ...] = ORDERS
) -> set[Variant]:
    """Run a case under each order and compare; the variants that were launched.

    On a device whose threads have no order, ``orders`` is ``(None,)``.
    """
    function, described = cases(op)[name], {kernel.name: kernel for kernel in _cuda.kernels()}
    seen: set[Variant] = set()
    start = launch.run

    def note(backend: Any, ready: Launch) -> None:
        seen.add(launched(described[ready.name], ready))
        start(backend, ready)

    earlier: list[np.ndarray] | None = None
    for order in orders:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(launch, "run", note)
            patch.setattr(launch, "FORCED", dict(macros))
            if bits == 64:
                patch.setattr(launch, "_INDEX_LIMIT", -1)
            for limit, value in SMALL.items() if isinstance(order, int) else ():
                patch.setattr(launch, limit, value)
            ordered: AbstractContextManager[None] = nullcontext() if order is None else be.ordered(order)
            with ordered, be.quiet():
                case = Case(be, dtype, f"{op}.{name}", earlier)
                function(case)
        assert case.results, f"{op}.{name} compares nothing"
        earlier = earlier or case.results
        assert len(case.results) == len(earlier), f"{op}.{name} compares other arrays under order {order}"
    return seen
