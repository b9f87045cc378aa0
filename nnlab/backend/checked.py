"""Checked launches on the device ``emulated``: every access of memory by every thread is looked at before it is made.

The kernel file is compiled so that each load and store calls ``kernels/host/checker.cpp`` (nnlab/cuda/host.py). This module
lays the arguments out for a launch, says what was found in words, and adds up what was counted.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from nnlab.errors import DeviceError

_ALIGNMENT = 256  # as cudaMalloc gives it
_FIXED, _DYNAMIC = -2, -3  # static and dynamic shared memory
_NOWHERE, _ARITHMETIC, _RACE = 2, 7, 6
_VERBS, _DID = ("reads", "writes", "updates"), ("read", "wrote", "updated")


def why_unusable() -> str | None:
    """Why kernels cannot be run with checks here, None if they can (apart from the compiler, see ``emulated``)."""
    if not sys.platform.startswith("linux"):
        return "checked launches need Linux, where a library's thread-local memory can be found"
    return None


class _Access(ctypes.Structure):
    _fields_ = [("block", ctypes.c_uint64), *((name, ctypes.c_uint32) for name in ("thread", "kind", "pc", "size"))]


class _Finding(ctypes.Structure):
    _fields_ = [
        ("what", ctypes.c_uint32),
        ("region", ctypes.c_int32),
        ("offset", ctypes.c_int64),
        ("address", ctypes.c_uint64),
        ("region_bytes", ctypes.c_uint64),
        ("now", _Access),
        ("before", _Access),
        ("text", ctypes.c_char * 256),
    ]


_COUNTS = (
    "global_accesses", "global_instructions", "sectors", "ideal_sectors",
    "shared_accesses", "shared_instructions", "wavefronts", "ideal_wavefronts",
)  # fmt: skip


class _Totals(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in _COUNTS]


@dataclass
class Counts:
    """What the launches of one kernel did. Only ``launches`` and the accesses are counted if not asked for more.

    An access is one thread's; an instruction is what the lanes of a warp do at once. Sectors are the 32-byte pieces of
    global memory that an instruction touches, ideally as few as its distinct bytes fill. Wavefronts are how often shared
    memory (32 banks of 4 bytes) must be asked for it; 8 and 16-byte accesses take a half and a quarter of a warp at once.
    """

    launches: int = 0
    global_accesses: int = 0
    global_instructions: int = 0
    sectors: int = 0
    ideal_sectors: int = 0
    shared_accesses: int = 0
    shared_instructions: int = 0
    wavefronts: int = 0
    ideal_wavefronts: int = 0


@dataclass
class Report:
    """What was run inside ``with be.checked() as report``, by the kernels' names."""

    counting: bool = False
    kernels: dict[str, Counts] = field(default_factory=dict)

    def add(self, kernel: str, counts: dict[str, int]) -> None:
        total = self.kernels.setdefault(kernel, Counts())
        total.launches += 1
        for name, value in counts.items():
            setattr(total, name, getattr(total, name) + value)


# -- what nobody has written -------------------------------------------------------------------------------------------

# Arrays made by ``be.xp.empty`` that no kernel has been given to write, by id.
_fresh: weakref.WeakValueDictionary[int, np.ndarray] = weakref.WeakValueDictionary()


def made_empty(array: np.ndarray) -> None:
    """An array comes out of ``be.xp.empty``."""
    _fresh[id(array)] = array


def written(arrays: Iterable[np.ndarray]) -> None:
    """A kernel has been given these arrays to write."""
    if _fresh:
        for array in arrays:
            _fresh.pop(id(_owner(array)), None)


def _owner(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _unwritten(array: np.ndarray) -> np.ndarray | None:
    """Which elements nobody has written, None if there are none.

    Floating-point elements: those that hold poison, a NaN that no arithmetic makes. Integers and bools may well have all
    bits set: all elements of an array that came from ``be.xp.empty``, if all of it is still poison and no kernel was
    given it to write.
    """
    if array.size == 0:
        return None
    if array.dtype.kind in "iub":
        owner = _owner(array)
        if _fresh.get(id(owner)) is not owner:
            return None
        raw = owner.ravel(order="K").view(np.uint8)
        return np.ones(array.size, np.uint8) if (raw == raw[0]).all() and raw[0] in (0xFF, owner.dtype == bool) else None
    if array.itemsize not in (2, 4, 8):
        return None
    bits = array.reshape(-1).view(f"u{array.itemsize}")
    poison = bits == np.iinfo(bits.dtype).max
    return poison.view(np.uint8) if poison.any() else None


# -- a launch ----------------------------------------------------------------------------------------------------------


def is_checked(library: ctypes.CDLL) -> bool:
    """Whether a loaded kernel library is the checked build."""
    return hasattr(library, "nnlab_checker_reserve")


class Arena:
    """Copies of a launch's arrays in the checker's address space. Arrays that share memory share it in the copy too.

    An array's place is that of its memory on a card: ``cudaMalloc`` aligns an allocation to 256 bytes, a view lies where
    it lies in it.
    """

    def __init__(
        self, library: Path, kernel: str, arguments: Sequence[Any], types: bytes, sizes: tuple[Any, Any], counting: bool
    ) -> None:
        self._library, self._kernel, self._arguments = library, kernel, arguments
        self._grid, self._block = sizes
        self._checker = checker = ctypes.CDLL(str(library))
        arrays = [(i, a) for i, a in enumerate(arguments) if isinstance(a, np.ndarray)]
        merged: list[list[int]] = []
        for start, end in sorted({(a.ctypes.data, a.ctypes.data + a.nbytes) for _, a in arrays if a.nbytes}):
            if merged and start < merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], end)
            else:
                merged.append([start, end])
        self._slots: dict[int, tuple[int, int]] = {}  # argument: slot, offset in it
        sizes_, offsets, granules = [end - start for start, end in merged], [0] * len(merged), [3] * len(merged)
        for i, a in arrays:
            if a.nbytes == 0:  # nothing there may be read or written
                self._slots[i] = len(sizes_), 0
                sizes_.append(0)
                offsets.append(0)
                granules.append(0)
                continue
            slot = next(n for n, (start, end) in enumerate(merged) if start <= a.ctypes.data < end)
            self._slots[i] = slot, a.ctypes.data - merged[slot][0]
            if self._slots[i][1] == 0:
                offsets[slot] = (a.ctypes.data - _owner(a).ctypes.data) % _ALIGNMENT
            granules[slot] = min(granules[slot], a.itemsize.bit_length() - 1)
        count = len(sizes_)
        u64s = ctypes.c_uint64 * max(count, 1)
        places = u64s()
        if not checker.nnlab_checker_reserve(count, u64s(*sizes_), u64s(*offsets), bytes(granules), counting, places):
            raise DeviceError("[emulated] checked launches reserve address space, which this process may not (ulimit -v)")
        self._places = list(places)
        for start, place in zip(merged, self._places):
            ctypes.memmove(place, start[0], start[1] - start[0])
        for i, a in arrays:
            slot, offset = self._slots[i]
            if types[i] == ord("w"):
                checker.nnlab_checker_writable(slot, _u64(offset), _u64(a.nbytes))
            items = _unwritten(a)
            if items is not None:
                shift = a.itemsize.bit_length() - 1
                checker.nnlab_checker_poisoned(slot, _u64(offset), shift, _pointer(items), _u64(items.size))

    def address(self, array: np.ndarray) -> int:
        """Where the copy of an array lies."""
        i = next(i for i, a in enumerate(self._arguments) if a is array)
        slot, offset = self._slots[i]
        return self._places[slot] + offset

    def totals(self) -> dict[str, int]:
        """What the launch has counted."""
        self._checker.nnlab_checker_totals.restype = ctypes.POINTER(_Totals)
        totals = self._checker.nnlab_checker_totals().contents
        return {name: getattr(totals, name) for name in _COUNTS}

    def copy_back(self, arrays: Iterable[np.ndarray]) -> None:
        for array in arrays:
            if array.nbytes:
                ctypes.memmove(array.ctypes.data, self.address(array), array.nbytes)
        self._checker.nnlab_checker_release()

    # -- words ---------------------------------------------------------------------------------------------------------

    def explain(self, message: str) -> str:
        """What went wrong, from the checker's notes; the runtime's own message if the checker found nothing."""
        self._checker.nnlab_checker_finding.restype = ctypes.POINTER(_Finding)
        found = self._checker.nnlab_checker_finding().contents
        if found.what == 0:
            return message
        now = found.now
        head = f"[{self._kernel}] {self._who(now)}: "
        if found.what == _ARITHMETIC:
            return head + found.text.decode()
        line = self._lines([now.pc, found.before.pc])
        verb = _VERBS[now.kind]
        if found.what == _NOWHERE:
            return f"{head}{verb} {now.size} bytes at address {found.address:#x}, where there is nothing ({line[0]})"
        start, owner = self._what(found)
        first, last = found.offset - start, found.offset - start + now.size - 1
        numbers = f"bytes {first} to {last}" if now.size > 1 else f"byte {first}"
        what = f"{head}{verb} {numbers} of {owner}"
        if found.what == _RACE:
            before = found.before
            same = before.block == now.block
            who = f"thread {self._place(before.thread, self._block)}" if same else self._who(before)
            why = "no barrier is between them" if same else "blocks are not ordered"
            return f"{what} ({line[0]}), which {who} {_DID[before.kind]} ({line[1]}): {why}"
        why = {
            1: "outside of it",
            3: "which is const",
            4: f"not aligned to {now.size} bytes",
            5: "which nobody has written before",
        }[found.what]
        return f"{what}, {why} ({line[0]})"

    def _who(self, access: _Access) -> str:
        block, thread = self._place(access.block, self._grid), self._place(access.thread, self._block)
        return f"block {block}, thread {thread}"

    @staticmethod
    def _place(number: int, sizes: Any) -> tuple[int, int, int]:
        x, y, _ = sizes
        return number % x, number // x % y, number // x // y

    def _what(self, found: _Finding) -> tuple[int, str]:
        """Where the array starts in its region, and the array in words."""
        if found.region == _DYNAMIC:
            return 0, f"dynamic shared memory ({found.region_bytes} bytes)"
        if found.region == _FIXED:
            arrays = [one for one in _shared_arrays(self._library) if one[0] <= found.offset]
            start, size, name = max(arrays, default=(0, found.region_bytes, "memory"))
            return start, f"shared {name} ({size} bytes)"
        names = ctypes.string_at(getattr(self._checker, f"host_{self._kernel}_names")).decode().split(",")
        pointers = [i for i, a in enumerate(self._arguments) if isinstance(a, np.ndarray)]
        words = []
        for i in pointers:
            if self._slots[i][0] != found.region:
                continue
            a = self._arguments[i]
            name = f" {names[pointers.index(i)]!r}" if len(names) == len(pointers) else ""
            words.append(f"argument {i}{name} (shape {a.shape}, {a.dtype}, {a.nbytes} bytes)")
        return 0, " / ".join(words)

    def _lines(self, places: list[int]) -> list[str]:
        if shutil.which("addr2line") is None:
            return [f"in {self._kernel}; binutils' addr2line would tell the line"] * len(places)
        return [_line(self._library, pc) for pc in places]


def _u64(value: int) -> ctypes.c_uint64:
    return ctypes.c_uint64(value)


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@cache
def _shared_arrays(library: Path) -> list[tuple[int, int, str]]:
    """Where the ``__shared__`` arrays of a library lie: start, bytes, name."""
    program = shutil.which("objdump")
    if program is None:
        return []
    command = [program, "--syms", "--demangle", str(library)]
    symbols = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.findall(r"^([0-9a-f]+) .*\.tbss\s+([0-9a-f]+)\s+(.+)$", symbols, re.MULTILINE)
    arrays = [(int(start, 16), int(size, 16), name.rpartition("::")[2]) for start, size, name in found]
    return sorted(one for one in arrays if one[1:] != (1, "byte"))  # the runtime's own, see cuda_host.h


@cache
def _line(library: Path, pc: int) -> str:
    """The line of a call's return address: the innermost one that is not the runtime's own."""
    command = ["addr2line", "-i", "-e", str(library), hex(pc - 1)]
    frames = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split("\n")
    places = [os.path.normpath(re.sub(r" \(discriminator \d+\)$", "", frame)) for frame in frames if frame]
    own = [place for place in places if "/host/" not in place]
    return (own or places or ["line unknown"])[0]
