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
# The checked build: each access of memory and each signed operation calls kernels/host/checker, which is linked
# instead of the sanitizers' libraries.
_CHECKS = (
    "-O0",  # every access that the source makes
    "-gdwarf-4",  # binutils before 2.41 misread the file names of DWARF 5
    "-DNNLAB_CHECKED",
    "-fsanitize=thread",
    "-fsanitize=signed-integer-overflow,shift-exponent,integer-divide-by-zero,bounds,alignment",
)
_WRAPPED = tuple(f"-Wl,--wrap={name}" for name in ("memcpy", "memmove", "memset"))
_WARNINGS = ("-Wall", "-Wno-unknown-pragmas", "-Wno-unused-function")
_KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)')
_UNROLL = re.compile(r"^[ \t]*#[ \t]*pragma[ \t]+unroll\b[ \t]*([^\n]*?)[ \t]*$", re.MULTILINE)
_WHOLE = 64  # loops without a number, up to this many times round
_DYNAMIC = re.compile(r"extern\s+__shared__\s+(?:__align__\s*\(\s*\d+\s*\)\s*)?([\w:]+)\s+(\w+)\s*\[\s*\]\s*;")


def compile_unit(
    unit: str, *, macros: Mapping[str, str | int], root: Path | None = None, checked: bool = False
) -> Path:
    """The shared library of a kernel file; see :func:`compile_text`.

    Args:
        unit: file name without ``.cu``.
        macros: become ``-Dname=value``.
        root: folder of the sources; default :func:`nnlab.cuda.sources.folder`.
        checked: the build whose every memory access is looked at (:mod:`nnlab.backend.checked`).
    """
    return compile_text(unit, sources.source(unit, root), macros=macros, checked=checked)


def compile_text(name: str, text: str, *, macros: Mapping[str, str | int], checked: bool = False) -> Path:
    """The shared library of a self-contained kernel text, from the cache if it was compiled before.

    The cache key is made of the text, the runtime's files, the macros, the flags and the compiler's version.

    Raises:
        CompileError: with the compiler's messages.
        MissingExtraError: there is no C++ compiler.
    """
    headers = _folder()
    text = _DYNAMIC.sub(r"DYNAMIC_SHARED(\1, \2);", text)
    if not checked and "clang" not in emulated.compiler()[1]:  # which knows CUDA's spelling
        text = _UNROLL.sub(lambda found: f"#pragma GCC unroll {found[1] or _WHOLE}", text)
    kernels = list(_KERNEL.finditer(text))
    entries = "\n".join(f"HOST_ENTRY({kernel[1]})" for kernel in kernels)
    if checked:
        entries += "\n" + "\n".join(_names(kernel[1], text[kernel.end() :]) for kernel in kernels)
    text = f'#include "cuda_host.h"\n#line 1 "{name}.cu"\n{text}\n{entries}\n'
    defines = [f"-D{macro}={value}" for macro, value in sorted(macros.items())]
    pasted = [file.read_text(encoding="utf-8") for file in sorted(headers.glob("*.h"))]
    options = [*FLAGS, *_WARNINGS, *defines]
    if not checked:
        return _library(name, text, options, pasted, [str(runtime())])
    return _library(name, text, [*options, *_CHECKS], pasted, [str(runtime(checked=True)), *_WRAPPED], objects=True)


def runtime(checked: bool = False) -> Path:
    """The shared library that runs the kernels' threads (kernels/host/runtime.cpp); all kernel libraries load it."""
    folder, options = _folder(), [*FLAGS, "-ftls-model=initial-exec"]
    text, *headers = [(folder / file).read_text(encoding="utf-8") for file in ("runtime.cpp", "runtime.h", "checker.h")]
    if not checked:
        return _library("runtime", text, options, headers, [])
    checker = folder / "checker"
    headers += [file.read_text(encoding="utf-8") for file in sorted(checker.iterdir())]
    options.append("-DNNLAB_CHECKED")
    return _library("runtime-checked", text, options, headers, [], second=checker / "checker.cpp")


def _names(kernel: str, rest: str) -> str:
    """The names of a kernel's pointers, for messages; the text begins at its parameters."""
    parameters = re.sub(r"//[^\n]*|/\*.*?\*/", "", rest[: rest.find("{")], flags=re.DOTALL)
    names = re.findall(r"\*\s*(?:__restrict__\s*)?(\w+)\s*[,)]", parameters)
    return f'extern "C" NNLAB_API const char host_{kernel}_names[] = "{",".join(names)}";'


def _folder() -> Path:
    return sources.folder() / "host"


def _library(
    name: str,
    text: str,
    options: list[str],
    headers: list[str],
    libraries: list[str],
    *,
    objects: bool = False,
    second: Path | None = None,
) -> Path:
    """Compile one file to a shared library that needs the given ones, or take it from the cache.

    With ``objects`` it is linked in a second step, without the options: what ``-fsanitize`` would link stays out.
    ``second`` is another source file of the library, whose text is among the headers. Where sources lie is not in the
    key: a process has room for few libraries with thread-local variables as fast as the runtime's.
    """
    program, version = emulated.compiler()
    key = sources.digest(text, *headers, *options, *libraries, program, version)
    library = cache.folder() / "kernels" / f"{name}-host-{key[:24]}.so"
    if library.is_file():
        return library
    with tempfile.TemporaryDirectory(prefix="nnlab-kernel-") as folder:
        source, result = Path(folder) / f"{name}.cpp", Path(folder) / f"{name}.so"
        source.write_text(text, encoding="utf-8")
        files = [str(source), *([str(second)] if second else [])]
        commands = [[program, *options, f"-I{_folder()}", *files, *libraries, "-o", str(result)]]
        if objects:
            half = Path(folder) / f"{name}.o"
            compiled = [program, *options, f"-I{_folder()}", f"-ffile-prefix-map={folder}=.", "-c", str(source)]
            linked = [program, "-shared", "-pthread", str(half), *libraries, "-o", str(result)]
            commands = [[*compiled, "-o", str(half)], linked]
        for command in commands:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise CompileError(f"[emulated] {name} does not compile with {' '.join(command)}:\n{done.stderr}")
        cache.write(library, result.read_bytes())
    return library
