"""The launch gate: the one place that starts a kernel.

CuPy's raw kernels ignore strides and offsets' meaning, pass a Python float as a double and an int as 64 bit, and check
nothing. So every launch is described by a :class:`Kernel` with the types of its parameters, and :func:`launch` checks
device, dtype, contiguity and sizes, chooses 32 or 64 bit for index arithmetic, types each scalar and sizes the grid.

The dtype of the data is the macro ``DTYPE_FLOAT32`` (``FLOAT16``, ``BFLOAT16``, ``FLOAT64``), the index type
``INDEX_BITS=32`` or ``64``; ``kernels/include/types.cuh`` turns them into ``scalar_t``, ``acc_t`` and ``index_t``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from nnlab.backend import Backend
from nnlab.cuda import host, tuned
from nnlab.cuda.compiler import compile_unit
from nnlab.errors import ArgumentError, DeviceError, DtypeError, ShapeError, complaint

BLOCK = 256
MAX_BLOCK = 1024  # threads of a block, on every card
MAX_GRID = (2**31 - 1, 65535, 65535)
MAX_SHARED = 48 << 10  # bytes of dynamic shared memory that every card gives without being asked
MAX_BLOCKS = 1 << 20  # a larger problem is covered by the kernels' grid-stride loops
_INDEX_LIMIT = 2**31 - 1 - MAX_BLOCKS * BLOCK  # room for the last step of a grid-stride loop

FLOATS = ("float32", "float64", "float16", "bfloat16")
_ACCUMULATOR = {"float16": np.float32, "bfloat16": np.float32, "float32": np.float32, "float64": np.float64}
_INTEGERS: dict[str, type[np.integer]] = {
    "int32": np.int32,
    "uint32": np.uint32,
    "int64": np.int64,
    "uint64": np.uint64,
}

_TABLE = re.compile(r"(.+)\[(\d+)\]")

FORCED: dict[str, int] = {}  # values of kernels' own macros that a test asks for, whatever is tuned or preferred


def accumulator(dtype: Any) -> Any:
    """The dtype that kernels compute in for data of this dtype: float32 for half types, other dtypes themselves."""
    return np.dtype(_ACCUMULATOR.get(np.dtype(dtype).name, dtype))


@dataclass(frozen=True)
class Kernel:
    """A kernel and what it is called with.

    Args:
        unit: the kernel file's name without ``.cu``.
        name: the kernel's name, ``<op>_<pass>``.
        parameters: in the kernel's order, name and type. Arrays: ``"scalar*"`` (the dtype of the data), ``"acc*"`` (its
            accumulator) or a dtype such as ``"bool*"``. Scalars: ``"acc"``, ``"index"``, ``"int32"``, ``"uint32"``,
            ``"int64"``, ``"uint64"``. Tables, structs of one array passed by value: ``"scalar*[64]"``, given as a list
            of up to 64 arrays, ``"index[64]"``, of up to 64 numbers.
        dtypes: the dtypes that the data may have.
        variants: macros of the kernel's own (tile sizes and the like) and the values that each may take, the default
            first.
    """

    unit: str
    name: str
    parameters: Mapping[str, str]
    dtypes: tuple[str, ...] = FLOATS
    variants: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Grid:
    """The threads of a launch, where the gate is not to choose them.

    Args:
        blocks: blocks of the grid, up to three sizes (x, y, z).
        threads: threads of a block, likewise.
        shared: bytes of dynamic shared memory of a block.
        macros: values of the kernel's own macros, where they are not the default.
        cooperative: the blocks may wait for one another (kernels/include/grid_sync.cuh); at most
            ``be.blocks_together(threads)`` of them.
    """

    blocks: tuple[int, ...]
    threads: tuple[int, ...]
    shared: int = 0
    macros: Mapping[str, int] = field(default_factory=dict)
    cooperative: bool = False


@dataclass(frozen=True)
class Launch:
    """A checked launch: everything typed, ready to be started."""

    unit: str
    name: str
    macros: Mapping[str, str | int]
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared: int
    arguments: tuple[Any, ...] = field(repr=False)
    cooperative: bool = False


def dtype_macros(dtype: str, index_bits: int) -> dict[str, str | int]:
    """The macros that every kernel file is compiled with."""
    return {f"DTYPE_{dtype.upper()}": 1, "INDEX_BITS": index_bits}


def choose(
    kernel: Kernel, be: Backend | None = None, dtype: Any = None, sizes: Sequence[int] = (), **preferred: int
) -> dict[str, int]:
    """A value for each of a kernel's own macros: forced by a test, else tuned, else preferred, else the default.

    A body whose grid depends on a macro asks here. With a backend the device's tuned table (:mod:`nnlab.cuda.tuned`) is
    looked at.

    Args:
        be, dtype, sizes: where the kernel runs, on data of which dtype, and what its speed depends on.
        preferred: values that the body would take.
    """
    values = {name: preferred.get(name, allowed[0]) for name, allowed in kernel.variants.items()}
    if be is not None:
        values |= _offered(kernel, tuned.table(be).find(kernel.name, dtype, sizes, values))
    return values | _offered(kernel, FORCED)


def _offered(kernel: Kernel, values: Mapping[str, int]) -> dict[str, int]:
    """Those of the values that are variants of the kernel."""
    return {name: value for name, value in values.items() if value in kernel.variants.get(name, ())}


def prepare(
    be: Backend, kernel: Kernel, *, threads: int | Grid, arguments: Mapping[str, Any], reach: int = 0
) -> Launch:
    """Check and type a launch.

    Args:
        be: the device's backend; all arrays must be its arrays.
        kernel: what to start.
        threads: how many threads have work, and the gate makes the grid, which may be smaller (grid-stride loop); or
            the grid.
        arguments: arrays and scalars by parameter name.
        reach: the largest number that index arithmetic meets, where that is not the size of an array.

    Raises:
        ArgumentError: a parameter is missing, unknown or a scalar out of range; a grid that not every card runs.
        DeviceError, DtypeError, ShapeError: an array is of another device, dtype, or not contiguous in C order.
    """
    if set(arguments) != set(kernel.parameters):
        wanted, got = ", ".join(kernel.parameters), ", ".join(arguments)
        raise ArgumentError(f"[{kernel.name}] arguments must be exactly {wanted}; got {got}")
    arrays = dict(_arrays(kernel, arguments))
    data_dtype = _check_arrays(be, kernel, arrays)
    if isinstance(threads, int):
        grid = Grid((min(-(-threads // BLOCK), MAX_BLOCKS),), (BLOCK,))
    else:
        grid, threads = threads, prod(threads.blocks) * prod(threads.threads)
        _check_grid(be, kernel, grid)
    largest = max([threads, reach, *(int(array.size) for _, array in arrays.values())])
    index_bits = 32 if largest <= _INDEX_LIMIT else 64
    values = []
    for name, declared in kernel.parameters.items():
        value, (kind, entries) = arguments[name], _parsed(declared)
        if kind.endswith("*"):
            values.append(value if entries is None else (*value, *[None] * (entries - len(value))))
        elif entries is None:
            values.append(_scalar(kernel, name, kind, value, data_dtype, index_bits))
        else:
            row = [_scalar(kernel, name, kind, one, data_dtype, index_bits) for one in (*value, 0)]
            values.append(_by_value(np.array(row[:-1] + row[-1:] * (entries - len(value)))))
    macros = dtype_macros(data_dtype, index_bits) | choose(kernel) | dict(grid.macros)
    sizes = grid.blocks, grid.threads, grid.shared
    return Launch(kernel.unit, kernel.name, macros, *sizes, tuple(values), grid.cooperative)


def launch(be: Any, kernel: Kernel, *, threads: int | Grid, reach: int = 0, **arguments: Any) -> None:
    """Check, compile (once) and start a kernel on a device; see :func:`prepare`. No threads, no launch."""
    ready = prepare(be, kernel, threads=threads, arguments=arguments, reach=reach)
    if min(ready.grid) > 0:
        run(be, ready)


def run(be: Any, ready: Launch) -> None:
    """Start a checked launch."""
    image = _image(ready.unit, be.arch, tuple(ready.macros.items()))
    be.run_kernel(image, ready.name, ready.grid, ready.block, ready.arguments, ready.shared, ready.cooperative)


@cache
def _image(unit: str, arch: str, macros: tuple[tuple[str, str | int], ...]) -> Path:
    """What the device loads: a cubin, or the shared library that the device ``emulated`` runs (architecture host, or
    host-checked)."""
    if arch.startswith("host"):
        return host.compile_unit(unit, macros=dict(macros), checked=arch == "host-checked")
    return compile_unit(unit, arch=arch, macros=dict(macros)).path


def _check_grid(be: Any, kernel: Kernel, grid: Grid) -> None:
    """Sizes that every card runs (there may be no blocks at all), macros that the kernel knows."""
    blocks, threads = grid.blocks, grid.threads
    if not 1 <= len(blocks) <= 3 or any(not 0 <= n <= most for n, most in zip(blocks, MAX_GRID)):
        raise ArgumentError(complaint(kernel.name, "blocks", f"be up to 3 sizes of at most {MAX_GRID}", blocks))
    if not 1 <= len(threads) <= 3 or min(threads) < 1 or prod(threads) > MAX_BLOCK or prod(threads[2:]) > 64:
        must = f"be up to 3 positive sizes, together at most {MAX_BLOCK}, the third at most 64"
        raise ArgumentError(complaint(kernel.name, "threads", must, threads))
    most_shared = MAX_SHARED if grid.shared <= MAX_SHARED else be.shared_memory
    if not 0 <= grid.shared <= most_shared:
        must = f"be in 0..{most_shared} on {be.device}"
        raise ArgumentError(complaint(kernel.name, "shared", must, grid.shared))
    if grid.cooperative and prod(blocks) > (most := be.blocks_together(prod(threads))):
        must = f"be at most {most} that run side by side on {be.device}"
        raise ArgumentError(complaint(kernel.name, "blocks", must, blocks))
    for name, value in grid.macros.items():
        if value not in kernel.variants.get(name, ()):
            offered = ", ".join(f"{macro} in {values}" for macro, values in kernel.variants.items()) or "none"
            raise ArgumentError(complaint(kernel.name, "macros", f"be of its variants ({offered})", f"{name}={value}"))


def _parsed(declared: str) -> tuple[str, int | None]:
    """A parameter's type, or that of its entries and how many there are."""
    table = _TABLE.fullmatch(declared)
    return (declared, None) if table is None else (table[1], int(table[2]))


def _arrays(kernel: Kernel, arguments: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, Any]]]:
    """What messages call each array, its declared dtype and the array; the lengths of tables are checked."""
    for name, value in arguments.items():
        kind, entries = _parsed(kernel.parameters[name])
        if entries is not None and not (isinstance(value, list | tuple) and len(value) <= entries):
            got = f"{len(value)} entries" if isinstance(value, list | tuple) else type(value).__name__
            raise ArgumentError(complaint(kernel.name, name, f"be a list of at most {entries} entries", got))
        if kind.endswith("*"):
            named = [(name, value)] if entries is None else [(f"{name}[{i}]", one) for i, one in enumerate(value)]
            yield from ((label, (kind[:-1], array)) for label, array in named)


def _by_value(array: np.ndarray) -> np.void:
    """The bytes of an array as one scalar."""
    scalar: np.void = array.view(f"V{array.nbytes}")[0]
    return scalar


def _check_arrays(be: Backend, kernel: Kernel, arrays: Mapping[str, tuple[str, Any]]) -> str:
    """Check each array; the common dtype of the data."""
    data: tuple[str, str] | None = None  # first array of the data's dtype: its name and dtype
    for name, (declared, array) in arrays.items():
        if not be.is_array(array):
            raise DeviceError(
                complaint(
                    kernel.name, name, f"be an array of {be.device}", f"{type(array).__module__}.{type(array).__name__}"
                )
            )
        if not array.flags.c_contiguous:
            got = f"shape {array.shape} with strides {array.strides}"
            raise ShapeError(complaint(kernel.name, name, "be contiguous in C order", got))
        dtype = array.dtype.name
        if declared == "acc":
            continue  # checked when the dtype of the data is known
        if declared != "scalar":
            if dtype != declared:
                raise DtypeError(complaint(kernel.name, name, f"be {declared}", dtype))
        elif dtype not in kernel.dtypes:
            raise DtypeError(complaint(kernel.name, name, f"be one of {', '.join(kernel.dtypes)}", dtype))
        elif data is None:
            data = name, dtype
        elif dtype != data[1]:
            raise DtypeError(complaint(kernel.name, name, f"be {data[1]} as {data[0]!r} is", dtype))
    if data is None:
        raise ArgumentError(f"[{kernel.name}] needs at least one array of the data's dtype")
    wanted = accumulator(data[1]).name
    for name, (declared, array) in arrays.items():
        if declared == "acc" and array.dtype.name != wanted:
            raise DtypeError(complaint(kernel.name, name, f"be {wanted}", array.dtype.name))
    return data[1]


def _scalar(kernel: Kernel, name: str, kind: str, value: Any, data_dtype: str, index_bits: int) -> Any:
    """A scalar as a NumPy scalar of exactly the type that the kernel declares."""
    if kind == "acc":
        if isinstance(value, bool) or not isinstance(value, int | float | np.floating | np.integer):
            raise ArgumentError(complaint(kernel.name, name, "be a number", value))
        return _ACCUMULATOR[data_dtype](value)
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ArgumentError(complaint(kernel.name, name, "be an integer", value))
    integer = _INTEGERS[f"int{index_bits}" if kind == "index" else kind]
    limits: Any = np.iinfo(integer)
    if not limits.min <= value <= limits.max:
        raise ArgumentError(complaint(kernel.name, name, f"be in {limits.min}..{limits.max}", value))
    return integer(value)
