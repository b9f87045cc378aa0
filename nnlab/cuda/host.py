"""Compile a kernel file with the host's C++ compiler to a shared library, once: the result is kept on disk.

The same ``.cu`` text that NVRTC compiles; ``kernels/host`` gives it CUDA's vocabulary and runs it. The libraries are
loaded by :mod:`nnlab.backend.emulated`.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from nnlab import cache
from nnlab.backend import emulated
from nnlab.cuda import sources
from nnlab.cuda.compiler import CompileError

# Products and sums are rounded one by one, as written. Kernels read arrays through vector types: no strict aliasing.
FLAGS = (
    "-std=c++17",
    "-O2",
    "-ffp-contract=off",
    "-fno-strict-aliasing",
    "-fvisibility=hidden",
    "-fPIC",
    "-pthread",
    "-shared",
)
_WARNINGS = ("-Wall", "-Wno-unknown-pragmas", "-Wno-unused-function")
_KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)')
_UNROLL = re.compile(r"^[ \t]*#[ \t]*pragma[ \t]+unroll\b[ \t]*([^\n]*?)[ \t]*$", re.MULTILINE)
_WHOLE = 64  # loops without a number, up to this many times round
_DYNAMIC = re.compile(r"extern\s+__shared__\s+(?:__align__\s*\(\s*\d+\s*\)\s*)?([\w:]+)\s+(\w+)\s*\[\s*\]\s*;")


def compile_unit(unit: str, *, macros: Mapping[str, str | int], root: Path | None = None) -> Path:
    """The shared library of a kernel file; see :func:`compile_text`.

    Args:
        unit: file name without ``.cu``.
        macros: become ``-Dname=value``.
        root: folder of the sources; default :func:`nnlab.cuda.sources.folder`.
    """
    return compile_text(unit, sources.source(unit, root), macros=macros)


def compile_text(name: str, text: str, *, macros: Mapping[str, str | int]) -> Path:
    """The shared library of a self-contained kernel text, from the cache if it was compiled before.

    The cache key is made of the text, the runtime's files, the macros, the flags and the compiler's version.

    Raises:
        CompileError: with the compiler's messages.
        MissingExtraError: there is no C++ compiler.
    """
    headers = _folder()
    text = _DYNAMIC.sub(r"DYNAMIC_SHARED(\1, \2);", text)
    if "clang" not in emulated.compiler()[1]:  # which knows CUDA's spelling
        text = _UNROLL.sub(lambda found: f"#pragma GCC unroll {found[1] or _WHOLE}", text)
    entries = "\n".join(f"HOST_ENTRY({kernel})" for kernel in _KERNEL.findall(text))
    text = f'#include "cuda_host.h"\n#line 1 "{name}.cu"\n{text}\n{entries}\n'
    defines = [f"-D{macro}={value}" for macro, value in sorted(macros.items())]
    pasted = [file.read_text(encoding="utf-8") for file in sorted(headers.glob("*.h"))]
    return _library(name, text, [*FLAGS, *_WARNINGS, *defines], pasted, [str(runtime())])


def runtime() -> Path:
    """The shared library that runs the kernels' threads (kernels/host/runtime.cpp); all kernel libraries load it."""
    text = (_folder() / "runtime.cpp").read_text(encoding="utf-8")
    header = (_folder() / "runtime.h").read_text(encoding="utf-8")
    return _library("runtime", text, [*FLAGS, "-ftls-model=initial-exec"], [header], [])


def _folder() -> Path:
    return sources.folder() / "host"


def _library(name: str, text: str, options: list[str], headers: list[str], libraries: list[str]) -> Path:
    """Compile one file to a shared library that needs the given ones, or take it from the cache."""
    program, version = emulated.compiler()
    key = sources.digest(text, *headers, *options, *libraries, program, version)
    library = cache.folder() / "kernels" / f"{name}-host-{key[:24]}.so"
    if library.is_file():
        return library
    with tempfile.TemporaryDirectory(prefix="nnlab-kernel-") as folder:
        source, result = Path(folder) / f"{name}.cpp", Path(folder) / f"{name}.so"
        source.write_text(text, encoding="utf-8")
        command = [program, *options, f"-I{_folder()}", str(source), *libraries, "-o", str(result)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CompileError(f"[emulated] {name} does not compile with {' '.join(command)}:\n{done.stderr}")
        cache.write(library, result.read_bytes())
    return library
