"""How far the memory of a process grows while a call runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

_SELF = Path("/proc/self")
_FORGET_PEAK = "5"  # what clear_refs understands as: let the peak be what is resident now


def growth(call: Callable[[], Any], times: int = 2) -> tuple[Any, int | None]:
    """The call's last result, and by how many bytes the process grew at the most while it ran so many times.

    The figure is the peak of resident memory less what was resident before, None where the system does not tell
    (anywhere but on Linux).
    """
    before = _resident()
    for _ in range(times):
        result = call()
    return result, None if before is None else _kilobytes("VmHWM") * 1024 - before


def _resident() -> int | None:
    """Bytes in memory now; the peak begins anew."""
    try:
        (_SELF / "clear_refs").write_text(_FORGET_PEAK)
        return _kilobytes("VmRSS") * 1024
    except (OSError, StopIteration):
        return None


def _kilobytes(name: str) -> int:
    lines = (_SELF / "status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])
