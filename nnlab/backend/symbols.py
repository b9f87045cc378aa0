"""What the debugging information of a kernel library says, by the tools of binutils."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path


@cache
def shared_arrays(library: Path) -> list[tuple[int, int, str]]:
    """Where the ``__shared__`` arrays of a library lie: start, bytes, name."""
    program = shutil.which("objdump")
    if program is None:
        return []
    command = [program, "--syms", "--demangle", str(library)]
    symbols = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.findall(r"^([0-9a-f]+) .*\.tbss\s+([0-9a-f]+)\s+(.+)$", symbols, re.MULTILINE)
    arrays = [(int(start, 16), int(size, 16), name.rpartition("::")[2]) for start, size, name in found]
    return sorted(one for one in arrays if one[1:] != (1, "byte"))  # the runtime's own, see cuda_host.h


_WRAPPERS = ("include/mma.cuh",)  # headers of kernels that stand for instructions: the kernel's own line is named


@cache
def lines(library: Path, places: tuple[int, ...]) -> tuple[str, ...]:
    """The lines of calls' return addresses: of each the innermost one that is not the runtime's own."""
    if shutil.which("addr2line") is None:
        return ("binutils' addr2line would tell the line",) * len(places)
    command = ["addr2line", "-a", "-i", "-e", str(library), *(hex(pc - 1) for pc in places)]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    result = []
    for frames in re.split(r"^0x[0-9a-f]+\n", found, flags=re.MULTILINE)[1:]:
        names = [os.path.normpath(re.sub(r" \(discriminator \d+\)$", "", frame)) for frame in frames.splitlines()]
        own = [name for name in names if "/host/" not in name and not name.startswith(_WRAPPERS)]
        result.append((own or names or ["line unknown"])[0])
    return tuple(result)
