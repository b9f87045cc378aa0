"""The device ``emulated``: hand-written kernels run by the CPU, everything else as NumPy array code.

A kernel file compiled by the host's C++ compiler (nnlab/cuda/host.py, kernels/host) is loaded as a shared library. For
each launch the arrays are copied into memory of their own between red zones of poison, and what the kernel may write is
copied back: a kernel that writes past an array damages nothing and is named.
"""

from __future__ import annotations

import ctypes
import math
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from nnlab.backend import Device, checked, counts, graphs, recorder, threads
from nnlab.errors import ArgumentError, DeviceError, MissingExtraError, complaint

POISON = 0xFF  # NaN in every floating type, -1 in every integer
_POISON_WRITTEN = 0xFE  # around arrays that a kernel may write: what it copies from beside another array is noticed
RED_ZONE = 4096  # bytes on either side of an array
_ALIGNMENT = 256  # as cudaMalloc gives it
_ORDERS = {"ascending": 0, "descending": 1}
_SHUFFLED = 2
_MAX_THREADS = 1024  # of a block, on every card
_MAX_TOGETHER = 8192  # threads of a cooperative launch: each has a stack


class KernelError(DeviceError):
    """A kernel did what it must not do; the message names kernel, block and thread, or the array it wrote past."""


@cache
def compiler() -> tuple[str, str]:
    """The host's C++ compiler: its path and the first line of its version.

    ``CXX``, else the first of c++, g++ and clang++ on the path.

    Raises:
        MissingExtraError: there is none.
    """
    named = os.environ.get("CXX")
    names = [named] if named else ["c++", "g++", "clang++"]
    for name in names:
        path = shutil.which(name)
        if path is not None:
            done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
            return path, done.stdout.partition("\n")[0].strip()
    looked = ", ".join(names)
    raise MissingExtraError(f"[emulated] no C++ compiler was found (looked for {looked}); install g++, or set CXX")


def why_unusable() -> str | None:
    """Why kernels cannot run on this machine's CPU, None if they can."""
    if os.name != "posix":
        return "kernels run on the CPU on Linux and macOS only"
    try:
        compiler()
    except MissingExtraError as error:
        return str(error).removeprefix("[emulated] ")
    return None


class _PoisonedModule:
    """NumPy, but memory that nobody has written holds poison."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(np, name)
        setattr(self, name, value)
        return value

    @staticmethod
    def empty(shape: Any, dtype: Any = float, order: Any = "C") -> np.ndarray:
        return _poisoned(np.empty(shape, dtype, order))

    @staticmethod
    def empty_like(prototype: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None) -> Any:
        return _poisoned(np.empty_like(prototype, dtype, order, subok, shape))


def _poisoned(array: np.ndarray) -> np.ndarray:
    checked.made_empty(array)
    if array.dtype == bool:
        array.fill(True)
    elif array.size:
        flat = array.ravel(order="K")  # a view: the array is new and has no gaps
        flat.view(np.uint8).fill(POISON)
    return array


class EmulatedBackend:
    """The CPU as a device that runs kernels, behind the :class:`nnlab.backend.Backend` interface.

    ``order`` says in which order threads of a block and blocks of a grid run: ``"ascending"``, ``"descending"`` or the
    seed of a shuffle. A correct kernel gives the same bits in any order.
    """

    shared_memory = 99 << 10  # bytes that a block may ask for, as on the cards with the least since sm_80

    def __init__(self) -> None:
        self.device = Device("emulated")
        self.tensor_cores = False  # which are emulated slowly: kernels for them run where this is set
        self.xp: Any = _PoisonedModule()
        self.order: str | int = "ascending"
        self._in_order = False
        self._report: counts.Report | None = None
        self.recorder: recorder.Recorder | None = None

    @property
    def host_memory(self) -> bool:
        """Array code takes the way of a GPU while a step is recorded: there is no other memory than the arrays'."""
        return self.recorder is None

    @property
    def arch(self) -> str:
        """What kernels are compiled for."""
        return "host" if self._report is None else "host-checked"

    def asarray(self, host: np.ndarray) -> np.ndarray:
        graphs.refuse("copies numbers from the host")
        return host.copy(order="K")

    def to_numpy(self, array: np.ndarray) -> np.ndarray:
        graphs.refuse("looks at values on the host")
        return array.copy(order="K")

    def is_array(self, value: Any) -> bool:
        return isinstance(value, np.ndarray)

    def from_dlpack(self, value: Any) -> np.ndarray:
        return np.from_dlpack(value)

    def synchronize(self) -> None:
        graphs.refuse("waits for the device")

    def recording(self) -> recorder.Recorder:
        """A new recording of a step; see :class:`nnlab.backend.graphs.Recording`."""
        return recorder.Recorder(self)

    def empty_cache(self) -> None:
        return None

    def quiet(self) -> AbstractContextManager[None]:
        return np.errstate(all="ignore")

    def products(self) -> AbstractContextManager[None]:
        return nullcontext()

    @contextmanager
    def ordered(self, order: str | int) -> Iterator[None]:
        """Launches inside the context run in this order, on one thread of the host; see the class."""
        if not (order in _ORDERS if isinstance(order, str) else 0 <= order < 2**64):
            raise ArgumentError(complaint("emulated", "order", "be 'ascending', 'descending' or a seed", order))
        before = self.order, self._in_order
        self.order, self._in_order = order, True
        try:
            yield
        finally:
            self.order, self._in_order = before

    @contextmanager
    def checked(self, counting: bool = False) -> Iterator[counts.Report]:
        """Launches inside the context look at every access of memory; an error is raised before the access is made.

        Found are accesses outside of the arguments and of shared memory, writes through pointers to const, misaligned
        accesses, reads of what nobody has written, data races between threads and between blocks, signed overflow.

        Args:
            counting: count memory sectors and bank conflicts too.

        Returns:
            What was run, by kernel: :class:`nnlab.backend.counts.Counts`.
        """
        reason = checked.why_unusable()
        if reason is not None:
            raise DeviceError(f"[emulated] {reason}")
        before, self._report = self._report, counts.Report(counting)
        try:
            yield self._report
        finally:
            self._report = before

    def blocks_together(self, threads: int) -> int:
        """How many blocks of so many threads a cooperative launch may have."""
        return _MAX_TOGETHER // threads

    def run_kernel(
        self,
        library: Path,
        name: str,
        grid: int | tuple[int, ...],
        block: int | tuple[int, ...],
        arguments: Sequence[Any],
        shared: int = 0,
        cooperative: bool = False,
    ) -> None:
        """Run a kernel of a compiled library to its end.

        Args:
            library: made by :func:`nnlab.cuda.host.compile_unit`.
            name: of the kernel.
            grid, block: up to three sizes, x first.
            arguments: arrays (contiguous), NumPy scalars, and tuples of arrays (None: no array) for tables of pointers,
                in the kernel's order.
            shared: bytes of dynamic shared memory.
            cooperative: the blocks may wait for one another (kernels/include/grid_sync.cuh).

        Raises:
            KernelError: threads did not meet at a barrier, a shuffle's mask was wrong, an array was overrun; what
                :meth:`checked` finds, if the library is so compiled.
            ArgumentError: the arguments are not those that the kernel declares, or a block has more than 1024 threads.
        """
        sizes = _sizes(grid), _sizes(block)
        if not 0 < math.prod(sizes[1]) <= _MAX_THREADS:
            raise ArgumentError(complaint(name, "block", f"have 1..{_MAX_THREADS} threads", block))
        entry, types, with_checks = _entry(library, name, len(arguments))
        report = self._report
        if with_checks != (report is not None):
            what = "runs inside `with be.checked()` only" if with_checks else "was compiled without checks"
            raise ArgumentError(f"[{name}] {library.name} {what}")
        if self.recorder is not None:
            arguments = [recorder.plain(argument) for argument in arguments]
        arrays = [a for argument in arguments for a in _arrays(argument)]
        written = [a for argument, (kind, _) in zip(arguments, types) if kind == "w" for a in _arrays(argument)]
        if self.recorder is not None:
            self.recorder.overwritten(written)
            again = (library, name, grid, block, arguments, shared, cooperative)
            self.recorder.kernel(lambda: self.run_kernel(*again))
        arena: Any
        if report is None:
            arena = _Arena(arrays, written)
        else:
            arena = checked.Arena(library, name, arguments, written, sizes, report.counting)
        with arena as places:
            values: list[np.ndarray] = []
            for position, (argument, (kind, size)) in enumerate(zip(arguments, types)):
                if (kind != "v", size) != _given(argument):
                    table = f"a table of {size} arrays" if size else "an array"
                    what = f"a scalar of {size} bytes" if kind == "v" else table
                    got = f"argument {position} = {type(argument).__name__}"
                    raise ArgumentError(complaint(name, f"argument {position}", f"be {what}", got))
                if kind == "v":
                    values.append(np.array(argument))
                else:
                    entries = argument if isinstance(argument, tuple) else (argument,)
                    values.append(np.array([places.address(array) for array in entries], np.uint64))
            pointers = (ctypes.c_void_p * len(values))(*map(_start, values))
            message = ctypes.create_string_buffer(1024)
            order = _ORDERS[self.order] if isinstance(self.order, str) else _SHUFFLED
            seed = 0 if isinstance(self.order, str) else self.order
            hosts = 1 if self._in_order or report is not None else threads.get_num_threads()
            failed = entry(*sizes, shared, order, seed, pointers, message, len(message), hosts, cooperative)
            if failed:
                text = message.value.decode()
                raise KernelError(text if report is None else places.explain(text))
            places.check(name, arguments)
            places.copy_back(written)
            checked.written(written)
            if report is not None:
                report.add(name, places)


@cache
def _entry(library: Path, name: str, count: int) -> tuple[Any, list[tuple[str, int]], bool]:
    """A kernel's entry point; what each parameter is, see kernels/host/cuda_host.h; is it the build with checks."""
    loaded = ctypes.CDLL(str(library))
    entry = getattr(loaded, f"host_{name}", None)
    if entry is None:
        raise DeviceError(f"[{name}] there is no such kernel in {library.name}")
    types = (ctypes.c_int * (2 * count))()
    parameters = getattr(loaded, f"host_{name}_types")(types, count)
    if parameters != count:
        raise ArgumentError(f"[{name}] takes {parameters} arguments, got {count}")
    u64 = ctypes.c_uint64
    numbers = [u64, ctypes.c_int, u64]
    buffers = [ctypes.c_void_p, ctypes.c_char_p, u64]
    entry.argtypes = [*[ctypes.c_void_p] * 2, *numbers, *buffers, ctypes.c_uint, ctypes.c_int]
    entry.restype = ctypes.c_int
    return entry, [(chr(kind), size) for kind, size in zip(types[::2], types[1::2])], checked.is_checked(loaded)


def _arrays(argument: Any) -> list[np.ndarray]:
    """The arrays of an argument."""
    if isinstance(argument, tuple):
        return [array for array in argument if array is not None]
    return [argument] if isinstance(argument, np.ndarray) else []


def _given(argument: Any) -> tuple[bool, int]:
    """Whether an argument is made of arrays, and how many entries its table or how many bytes its value has."""
    if isinstance(argument, np.ndarray):
        return True, 0
    return (True, len(argument)) if isinstance(argument, tuple) else (False, argument.dtype.itemsize)


@lru_cache(maxsize=1024)
def _sizes(of: int | tuple[int, ...]) -> Any:
    sizes = of if isinstance(of, tuple) else (of,)
    return (ctypes.c_uint32 * 3)(*sizes, *[1] * (3 - len(sizes)))


class _Memory(threading.local):
    """A thread's memory for copies of arrays, kept from launch to launch; between the copies it holds poison."""

    def __init__(self) -> None:
        # Memory, and for which copies it was laid out: their sizes, and what is around them.
        self.free: list[tuple[np.ndarray, tuple[tuple[int, int], ...]]] = []


_memory = _Memory()
_KEPT = 256 << 20  # bytes; larger memory is given back after its launch
_CLEAN = {poison: bytes([poison]) * RED_ZONE for poison in (POISON, _POISON_WRITTEN)}


@cache
def _compare() -> Any:
    memcmp = ctypes.CDLL(None).memcmp
    memcmp.argtypes, memcmp.restype = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t], ctypes.c_int
    return memcmp


def _start(array: np.ndarray) -> int:
    start: int = array.__array_interface__["data"][0]
    return start


class _Arena:
    """Copies of arrays, each between two red zones. Arrays that share memory share it in the copy too.

    A context: the copies live inside the ``with`` block.
    """

    def __init__(self, arrays: Sequence[np.ndarray], written: Sequence[np.ndarray]) -> None:
        spans = sorted({(start, start + a.nbytes) for a in arrays if a.nbytes for start in (_start(a),)})
        targets = [_start(a) for a in written if a.nbytes]
        merged: list[list[int]] = []
        for start, end in spans:
            if merged and start < merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], end)
            else:
                merged.append([start, end])
        poisons = [_POISON_WRITTEN if any(start <= at < end for at in targets) else POISON for start, end in merged]
        layout = tuple((end - start, poison) for (start, end), poison in zip(merged, poisons))
        room = 2 * RED_ZONE + sum(size + 2 * RED_ZONE + _ALIGNMENT for size, _ in layout)
        memory, laid_out = _memory.free.pop() if _memory.free else (np.empty(0, np.uint8), ())
        if memory.nbytes < room:
            memory, laid_out = np.empty(room + room // 4, np.uint8), ()
        self._memory, self._layout, self._base = memory, layout, _start(memory)
        # The address of an empty array, or of none, is between the first two zones: nothing there is to be touched.
        self._spans = [(0, 0, self._base + RED_ZONE, POISON)]  # start, end, start of the copy, what is around it
        place = self._base + 3 * RED_ZONE
        for (start, end), poison in zip(merged, poisons):
            place += -place % _ALIGNMENT
            ctypes.memmove(place, start, end - start)
            self._spans.append((start, end, place, poison))
            place += end - start + 2 * RED_ZONE
        if layout != laid_out or not layout:
            for zone, poison in self._zones():
                ctypes.memset(zone, poison, RED_ZONE)

    def __enter__(self) -> _Arena:
        return self

    def __exit__(self, error: Any, *_: Any) -> None:
        # After an error nobody knows what the zones hold.
        if error is None and self._memory.nbytes <= _KEPT:
            _memory.free.append((self._memory, self._layout))

    def _zones(self) -> Iterator[tuple[int, int]]:
        """Where each red zone starts, and what it holds; two for each span."""
        for start, end, place, poison in self._spans:
            yield place - RED_ZONE, poison
            yield place + end - start, poison

    def address(self, array: np.ndarray | None) -> int:
        """Where the copy of an array lies."""
        if array is not None and array.nbytes:
            at = _start(array)
            for start, end, place, _ in self._spans:
                if start <= at < end:
                    return place + at - start
        return self._base + RED_ZONE

    def check(self, kernel: str, arguments: Sequence[Any]) -> None:
        """Raise if a red zone was written."""
        compare = _compare()
        if not any(compare(zone, _CLEAN[poison], RED_ZONE) for zone, poison in self._zones()):
            return
        for start, end, place, poison in self._spans:
            at, size = place - self._base, end - start
            past = np.flatnonzero(self._memory[at + size : at + size + RED_ZONE] != poison) + size
            wrong = np.concatenate([np.flatnonzero(self._memory[at - RED_ZONE : at] != poison) - RED_ZONE, past])
            if not wrong.size:
                continue
            if not size:
                raise KernelError(f"[{kernel}] wrote to an empty array")
            owners = [
                f"argument {i} (shape {a.shape}, {a.dtype}, {a.nbytes} bytes)"
                for i, argument in enumerate(arguments)
                for a in _arrays(argument)
                if start <= _start(a) < end
            ]
            raise KernelError(f"[{kernel}] wrote bytes {wrong[0]} to {wrong[-1]} of {' / '.join(owners)}")

    def copy_back(self, arrays: Sequence[np.ndarray]) -> None:
        for array in arrays:
            if array.nbytes:
                ctypes.memmove(_start(array), self.address(array), array.nbytes)
