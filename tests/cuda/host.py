"""Run a ``.cu`` file's kernels on the CPU: compiled by the host's C++ compiler over ``kernels/host/cuda_host.h``."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from nnlab.cuda import sources
from nnlab.cuda.launch import Launch

_KERNEL = re.compile(r'extern "C" __global__ void (\w+)')


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="nnlab-host-kernels-")


def compile_text(text: str, macros: Mapping[str, str | int]) -> ctypes.CDLL:
    """A shared library from a kernel file's text, with an entry ``host_<kernel>`` for each kernel in it."""
    return _compile(text, tuple(sorted(macros.items())))


@cache
def _compile(text: str, macros: tuple[tuple[str, str | int], ...]) -> ctypes.CDLL:
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    entries = "\n".join(f"HOST_ENTRY({name})" for name in _KERNEL.findall(text))
    stem = Path(_folder().name) / sources.digest(text, *map(str, macros))[:24]
    stem.with_suffix(".cpp").write_text(f'#include "cuda_host.h"\n{text}\n{entries}\n')
    flags = ["-std=c++17", "-O1", "-ffp-contract=off", "-shared", "-fPIC", "-Wall", "-Wno-unknown-pragmas", "-Werror"]
    command = [compiler, *flags, *(f"-D{name}={value}" for name, value in macros), f"-I{sources.folder() / 'host'}"]
    command += [str(stem.with_suffix(".cpp")), "-o", str(stem.with_suffix(".so"))]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return ctypes.CDLL(str(stem.with_suffix(".so")))


def call(library: ctypes.CDLL, name: str, grid: int, block: int, arguments: Sequence[np.ndarray | np.generic]) -> None:
    """Run a kernel: arrays are passed by address, NumPy scalars by value, as on the GPU."""
    values = [np.array(a.ctypes.data, np.uint64) if isinstance(a, np.ndarray) else np.array(a) for a in arguments]
    pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
    getattr(library, f"host_{name}")(ctypes.c_uint(grid), ctypes.c_uint(block), pointers)


def run(be: object, ready: Launch) -> None:
    """In place of ``nnlab.cuda.launch.run``: what passed the gate runs here."""
    library = compile_text(sources.source(ready.unit), ready.macros)
    call(library, ready.name, ready.grid, ready.block, ready.arguments)
