"""Checked launches on the device ``emulated``: every access of memory by every thread is looked at before it is made.

The kernel file is compiled so that each load and store calls ``kernels/host/checker`` (nnlab/cuda/host.py). This module
lays the arguments out for a launch, says what was found in words, and adds up what was counted.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from nnlab.backend import symbols
from nnlab.backend.counts import COUNTS, PlaceTotals, Totals
from nnlab.errors import DeviceError

_ALIGNMENT = 256  # as cudaMalloc gives it
_FIXED, _DYNAMIC = -2, -3  # static and dynamic shared memory
_NOWHERE, _RACE, _ARITHMETIC, _UNDER_WAY = 2, 6, 7, 8  # of What in checker.cpp
_PLACE = 1 << 31  # from here on pc is the number of a place whose line the runtime was told
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

    Floating-point elements: those that hold poison, a NaN that no arithmetic makes of other numbers. Integers and bools
    may well have all bits set: all elements of an array that came from ``be.xp.empty``, if all of it is still poison
    and no kernel was given it to write.
    """
    if array.size == 0:
        return None
    if array.dtype.kind in "iub":
        owner = _owner(array)
        if _fresh.get(id(owner)) is not owner:
            return None
        raw = owner.ravel(order="K").view(np.uint8)
        poison = 1 if owner.dtype == bool else 0xFF
        return np.ones(array.size, np.uint8) if (raw == poison).all() else None
    if array.itemsize not in (2, 4, 8):
        return None
    bits = array.reshape(-1).view(f"u{array.itemsize}")
    unwritten = bits == np.iinfo(bits.dtype).max
    return unwritten.view(np.uint8) if unwritten.any() else None


# -- a launch ----------------------------------------------------------------------------------------------------------


def is_checked(library: ctypes.CDLL) -> bool:
    """Whether a loaded kernel library is the checked build."""
    return hasattr(library, "nnlab_checker_reserve")


class Arena:
    """Copies of a launch's arrays in the checker's address space. Arrays that share memory share it there too.

    An array's place is that of its memory on a card: ``cudaMalloc`` aligns an allocation to 256 bytes, a view lies
    where it lies in it. A context: the copies live inside the ``with`` block.
    """

    def __init__(
        self,
        library: Path,
        kernel: str,
        arguments: Sequence[Any],
        written: Sequence[np.ndarray],
        sizes: tuple[Any, Any],
        counting: bool,
    ) -> None:
        self._library, self._kernel = library, kernel
        self._grid, self._block = sizes
        self._checker = _functions(library)
        arrays = list(_named(self._checker, kernel, arguments))
        slots: list[_Slot] = []
        self._slots: dict[int, _Slot] = {}  # by the array's id
        for name, a in sorted(arrays, key=lambda one: (one[1].nbytes == 0, one[1].ctypes.data)):
            start, end = a.ctypes.data, a.ctypes.data + a.nbytes
            if not a.nbytes or not slots or start >= slots[-1].end:
                slots.append(_Slot(len(slots), start, end, (start - _owner(a).ctypes.data) % _ALIGNMENT))
            self._slots[id(a)] = slot = slots[-1]
            slot.owners.append(f"{name} (shape {a.shape}, {a.dtype}, {a.nbytes} bytes)")
            slot.end = max(slot.end, end)
            slot.shift = min(slot.shift, _shift(a))
        numbers = ctypes.c_uint64 * max(len(slots), 1)
        lengths, offsets = numbers(*(s.end - s.start for s in slots)), numbers(*(s.offset for s in slots))
        places, shifts = numbers(), bytes(slot.shift for slot in slots)
        if not self._checker.nnlab_checker_reserve(len(slots), lengths, offsets, shifts, counting, places):
            why = "checked launches reserve address space, which this process may not (ulimit -v)"
            raise DeviceError(f"[emulated] {why}")
        for slot, place in zip(slots, places):
            slot.place = place
            ctypes.memmove(place, slot.start, slot.end - slot.start)
        for a in written:
            slot = self._slots[id(a)]
            self._checker.nnlab_checker_writable(slot.number, a.ctypes.data - slot.start, a.nbytes)
        for _, a in arrays:
            slot, items = self._slots[id(a)], _unwritten(a)
            if items is not None:
                offset = a.ctypes.data - slot.start
                self._checker.nnlab_checker_poisoned(slot.number, offset, _shift(a), items.ctypes.data, items.size)

    def __enter__(self) -> Arena:
        return self

    def __exit__(self, *error: object) -> None:
        self._checker.nnlab_checker_release()

    def address(self, array: np.ndarray | None) -> int:
        """Where the copy of an array lies; for no array, where nothing lies."""
        if array is None:
            return 0
        slot = self._slots[id(array)]
        return slot.place + array.ctypes.data - slot.start

    def totals(self) -> dict[str, int]:
        """What the launch has counted."""
        totals = self._checker.nnlab_checker_totals().contents
        return {name: getattr(totals, name) for name in COUNTS}

    def places(self) -> Iterator[tuple[Path, str, PlaceTotals]]:
        """The places in the code that accessed memory, and what was counted there: the library, the line if it is known
        without looking it up there."""
        for number in count():
            found = self._checker.nnlab_checker_place_totals(number)
            if not found:
                return
            pc = found.contents.pc
            yield self._library, self._line(pc) if pc >= _PLACE else "", PlaceTotals.from_buffer_copy(found.contents)

    def check(self, kernel: str, arguments: Sequence[Any]) -> None:
        """Nothing to do after a launch: a wrong access is not made."""

    def copy_back(self, arrays: Iterable[np.ndarray]) -> None:
        for array in arrays:
            if array.nbytes:
                ctypes.memmove(array.ctypes.data, self.address(array), array.nbytes)

    # -- words ---------------------------------------------------------------------------------------------------------

    def explain(self, message: str) -> str:
        """What went wrong, from the checker's notes; the runtime's own message if the checker found nothing."""
        found = self._checker.nnlab_checker_finding().contents
        if found.what == 0:
            return message
        now, before = found.now, found.before
        verb, head = _VERBS[now.kind], f"[{self._kernel}] {self._who(now)}: "
        if found.what == _ARITHMETIC:
            return head + found.text.decode()
        line = self._line(now.pc)
        if found.what == _NOWHERE:
            return f"{head}{verb} {now.size} bytes at address {found.address:#x}, where there is nothing ({line})"
        start, owner = self._what(found)
        first, last = found.offset - start, found.offset - start + now.size - 1
        numbers = f"bytes {first} to {last}" if now.size > 1 else f"byte {first}"
        what = f"{head}{verb} {numbers} of {owner}"
        if found.what == _UNDER_WAY:
            who = f"thread {self._place(before.thread, self._block)}"
            return f"{what} ({line}), to which an asynchronous copy of {who} ({self._line(before.pc)}) is under way"
        if found.what == _RACE:
            same = before.block == now.block
            who = f"thread {self._place(before.thread, self._block)}" if same else self._who(before)
            why = "no barrier is between them" if same else "blocks are not ordered"
            return f"{what} ({line}), which {who} {_DID[before.kind]} ({self._line(before.pc)}): {why}"
        reasons = {
            1: "outside of it",
            3: "which is const",
            4: f"not aligned to {now.size} bytes",
            5: "which nobody has written before",
        }
        return f"{what}, {reasons[found.what]} ({line})"

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
            arrays = [one for one in symbols.shared_arrays(self._library) if one[0] <= found.offset]
            start, size, name = max(arrays, default=(0, found.region_bytes, "memory"))
            return start, f"shared {name} ({size} bytes)"
        slot = next(slot for slot in self._slots.values() if slot.number == found.region)
        return 0, " / ".join(slot.owners)

    def _line(self, pc: int) -> str:
        if pc >= _PLACE:
            line = ctypes.c_int()
            file: bytes = self._checker.nnlab_checker_place(pc - _PLACE, ctypes.byref(line))
            return f"{file.decode()}:{line.value}"
        return symbols.lines(self._library, (pc,))[0]


@dataclass
class _Slot:
    """The place of an array, or of several that overlap: where they lie on the host, and the copy."""

    number: int
    start: int
    end: int
    offset: int  # of the start in its allocation, modulo the alignment
    shift: int = 3  # logarithm of the smallest element's bytes
    place: int = 0
    owners: list[str] = field(default_factory=list)  # the arrays in words


def _named(library: ctypes.CDLL, kernel: str, arguments: Sequence[Any]) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays among arguments, and which they are; an entry of a table is ``argument 2[5]``."""
    names = (
        ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(library, f"host_{kernel}_names"))).decode().split(",")
    )
    single = [i for i, argument in enumerate(arguments) if isinstance(argument, np.ndarray)]
    for i, argument in enumerate(arguments):
        if isinstance(argument, tuple):
            yield from ((f"argument {i}[{j}]", a) for j, a in enumerate(argument) if a is not None)
        elif i in single:
            name = f" {names[single.index(i)]!r}" if len(names) == len(single) else ""
            yield f"argument {i}{name}", argument


def _shift(array: np.ndarray) -> int:
    return array.itemsize.bit_length() - 1


@cache
def _functions(library: Path) -> ctypes.CDLL:
    """A checked library, with the types of the checker's functions."""
    loaded, u32, u64 = ctypes.CDLL(str(library)), ctypes.c_uint32, ctypes.c_uint64
    pointer = ctypes.c_void_p
    loaded.nnlab_checker_reserve.argtypes = [u32, pointer, pointer, ctypes.c_char_p, ctypes.c_int, pointer]
    loaded.nnlab_checker_writable.argtypes = [u32, u64, u64]
    loaded.nnlab_checker_poisoned.argtypes = [u32, u64, u32, pointer, u64]
    loaded.nnlab_checker_finding.restype = ctypes.POINTER(_Finding)
    loaded.nnlab_checker_place_totals.restype = ctypes.POINTER(PlaceTotals)
    loaded.nnlab_checker_totals.restype = ctypes.POINTER(Totals)
    loaded.nnlab_checker_place.restype = ctypes.c_char_p
    return loaded
