"""What checked launches have counted: accesses, and on request sectors and bank conflicts, by kernel and by line."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from nnlab.backend import symbols

COUNTS = (
    "global_accesses", "global_instructions", "sectors", "ideal_sectors",
    "shared_accesses", "shared_instructions", "wavefronts", "ideal_wavefronts",
)  # fmt: skip


class Totals(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in COUNTS]


class PlaceTotals(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint32) for name in ("pc", "shared")),
        *((name, ctypes.c_uint64) for name in ("instructions", "actual", "ideal")),
    ]


@dataclass
class Line:
    """What one line of a kernel asks of memory: sectors of global memory or wavefronts of shared memory."""

    shared: bool
    instructions: int = 0
    actual: int = 0
    ideal: int = 0


@dataclass
class Counts:
    """What the launches of one kernel did. Only ``launches`` and the accesses are counted if not asked for more.

    An access is one thread's; an instruction is what the lanes of a warp do at once. Sectors are the 32-byte pieces
    of global memory that an instruction touches, ideally as few as its distinct bytes fill. Wavefronts are how often
    shared memory (32 banks of 4 bytes) must be asked for it; 8 and 16-byte accesses take a half and a quarter of a
    warp at once.
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


class Counted(Protocol):
    """A launch that has ended."""

    def totals(self) -> dict[str, int]: ...

    def places(self) -> Iterable[tuple[Path, str, PlaceTotals]]:
        """The places in the code that accessed memory: the library, and the line if it need not be looked up there."""


@dataclass
class Report:
    """What was run inside ``with be.checked() as report``, by the kernels' names; with ``counting`` also by line."""

    counting: bool = False
    kernels: dict[str, Counts] = field(default_factory=dict)
    _places: dict[str, list[tuple[Path, str, PlaceTotals]]] = field(default_factory=dict)

    def add(self, kernel: str, arena: Counted) -> None:
        total = self.kernels.setdefault(kernel, Counts())
        total.launches += 1
        for name, value in arena.totals().items():
            setattr(total, name, getattr(total, name) + value)
        if self.counting:
            self._places.setdefault(kernel, []).extend(arena.places())

    def lines(self, kernel: str) -> dict[str, Line]:
        """The lines of a kernel that access memory, those with the most traffic beyond the ideal first.

        A line that accesses global and shared memory has two entries, ``relu.cu:30`` and ``relu.cu:30 (shared)``.
        """
        lines: dict[str, Line] = {}
        places = self._places.get(kernel, [])
        unknown = {
            library: sorted({one.pc for at, line, one in places if at == library and not line})
            for library, *_ in places
        }
        names = {(at, pc): line for at, pcs in unknown.items() for pc, line in zip(pcs, symbols.lines(at, tuple(pcs)))}
        for library, told, counted in places:
            name = (told or names[library, counted.pc]) + (" (shared)" if counted.shared else "")
            line = lines.setdefault(name, Line(bool(counted.shared)))
            line.instructions += counted.instructions
            line.actual += counted.actual
            line.ideal += counted.ideal
        return dict(sorted(lines.items(), key=lambda item: item[1].ideal - item[1].actual))
