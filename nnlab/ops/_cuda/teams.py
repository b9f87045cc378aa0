"""Teams of threads that share a line of numbers; see ``kernels/include/team.cuh``."""

from __future__ import annotations

from nnlab.cuda import launch
from nnlab.cuda.launch import Grid, Kernel, choose

VARIANTS = {"TEAM": (32, 1, 256)}
"""Threads a line."""

_SHORT = 8  # elements of a contiguous line that one thread reads alone
_LONG = 1024  # elements of a contiguous line from which on a block is better than a warp


def grid(kernel: Kernel, lines: int, count: int, inner: int) -> Grid:
    """The threads for ``lines`` lines of ``count`` elements that are ``inner`` apart, chosen by shapes alone."""
    if inner > 1 or count < _SHORT:
        return of_teams(kernel, lines, 1)
    return of_teams(kernel, lines, 32 if count <= _LONG else 256)


def of_teams(kernel: Kernel, lines: int, team: int) -> Grid:
    """Blocks for that many lines, ``team`` threads each unless a test asks for another team."""
    macros = choose(kernel, TEAM=team)
    threads = max(macros["TEAM"], launch.BLOCK)
    return Grid((min(-(-lines * macros["TEAM"] // threads), launch.MAX_BLOCKS),), (threads,), macros=macros)
