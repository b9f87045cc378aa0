"""Teams of threads that share a line of numbers; see ``kernels/include/team.cuh``."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.cuda import launch
from nnlab.cuda.launch import Grid, Kernel, choose

VARIANTS = {"TEAM": (32, 1, 256)}
"""Threads a line."""

_SHORT = 8  # fewer elements of a line than this one thread reads alone
_LONG = 1024  # more elements than this a block reads


def grid(be: Backend, kernel: Kernel, dtype: Any, lines: int, count: int, step: int, team: int | None = None) -> Grid:
    """The threads for ``lines`` lines of ``count`` elements that are ``step`` apart: blocks of teams; a team of more
    than a warp is a block of its own.

    ``team`` is what the body would take, by default one thread a line unless elements are neighbours.
    """
    preferred = team or (1 if step > 1 else of_line(count))
    macros = choose(kernel, be, dtype, (lines, count, step), TEAM=preferred)
    team = macros["TEAM"]
    threads = team if team > 32 else max(team, launch.BLOCK)
    return Grid((min(-(-lines * team // threads), launch.MAX_BLOCKS),), (threads,), macros=macros)


def of_line(count: int) -> int:
    """The team for a line of so many elements, read along the line."""
    if count < _SHORT:
        return 1
    return 32 if count <= _LONG else 256
