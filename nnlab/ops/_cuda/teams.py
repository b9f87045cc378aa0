"""Teams of threads that share a line of numbers; see ``kernels/include/team.cuh``."""

from __future__ import annotations

from nnlab.cuda import launch
from nnlab.cuda.launch import Grid, Kernel, choose

VARIANTS = {"TEAM": (32, 1, 256)}
"""Threads a line."""

_SHORT = 8  # fewer elements of a line than this one thread reads alone
_LONG = 1024  # more elements than this a block reads


def grid(kernel: Kernel, lines: int, count: int, inner: int) -> Grid:
    """The threads for ``lines`` lines of ``count`` elements that are ``inner`` apart, chosen by shapes alone."""
    return of_teams(kernel, lines, 1 if inner > 1 else of_line(count))


def of_line(count: int) -> int:
    """The team for a line of so many elements, read along the line."""
    if count < _SHORT:
        return 1
    return 32 if count <= _LONG else 256


def of_teams(kernel: Kernel, lines: int, team: int) -> Grid:
    """Blocks for that many lines, ``team`` threads each unless a test asks for another team; more than a warp are a
    block of their own."""
    macros = choose(kernel, TEAM=team)
    team = macros["TEAM"]
    threads = team if team > 32 else max(team, launch.BLOCK)
    return Grid((min(-(-lines * team // threads), launch.MAX_BLOCKS),), (threads,), macros=macros)
