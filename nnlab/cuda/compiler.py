"""Compile a kernel file with NVRTC to a cubin, once: the result is kept in a folder on disk.

NVRTC is called directly, not through CuPy's ``RawModule``, which needs a driver, always flushes denormals to zero
(``-ftz=true``) and cannot name an architecture such as ``sm_90a``. No driver and no GPU are needed here.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from nnlab import cache
from nnlab.backend import cuda
from nnlab.cuda import sources
from nnlab.errors import DeviceError, MissingExtraError

_FORMAT = "2"  # of the files in the cache; 1: cubins lacked their last byte
_OPTIONS = ("--std=c++17", "--ptxas-options=-v", "-lineinfo")
_FUNCTION = re.compile(r"Compiling entry function '(\w+)'")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


class CompileError(DeviceError):
    """NVRTC refused a kernel; the message holds its log."""


@dataclass(frozen=True)
class Usage:
    """What one kernel takes, as ptxas reports it: registers a thread, bytes of stack, spills and shared memory."""

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int


@dataclass(frozen=True)
class Cubin:
    """A compiled kernel file: where it lies, the usage of each kernel in it, and whether the cache had it."""

    path: Path
    usage: dict[str, Usage]
    cached: bool


def parse_report(log: str) -> dict[str, Usage]:
    """Usage by kernel name from the log that ``--ptxas-options=-v`` writes."""
    usage = {}
    # re.split with one group: text before, then name, text, name, text, ...
    parts = _FUNCTION.split(log)
    for name, text in zip(parts[1::2], parts[2::2]):
        registers, stack, shared = _REGISTERS.search(text), _STACK.search(text), _SHARED.search(text)
        if registers is None or stack is None:
            raise CompileError(f"[nvrtc] the report of kernel {name!r} has an unknown form: {text.strip()!r}")
        usage[name] = Usage(
            int(registers[1]), int(stack[1]), int(stack[2]), int(stack[3]), int(shared[1]) if shared else 0
        )
    return usage


def toolkit_include() -> Path:
    """The folder of the toolkit's headers (``cuda_fp16.h`` ...): from the runtime wheel, else from ``CUDA_PATH``.

    Raises:
        MissingExtraError: there is none.
    """
    spec = importlib.util.find_spec("nvidia")
    wheels = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    major = cuda.nvrtc().getVersion()[0]
    places = [wheel / (f"cu{major}" if major >= 13 else "cuda_runtime") / "include" for wheel in wheels]
    places += [Path(os.environ[name]) / "include" for name in ("CUDA_PATH", "CUDA_HOME") if os.environ.get(name)]
    places.append(Path("/usr/local/cuda/include"))
    for place in places:
        if (place / "cuda_fp16.h").is_file():
            return place
    raise MissingExtraError(f"[nvrtc] the CUDA headers (cuda_fp16.h) were not found; {cuda.EXTRAS}")


def compile_unit(unit: str, *, arch: str, macros: Mapping[str, str | int], root: Path | None = None) -> Cubin:
    """Compile a kernel file, or take it from the cache.

    The cache key is made of the source with its headers pasted in, the macros, the options, the architecture, NVRTC's
    version and the format of the cache.

    Args:
        unit: file name without ``.cu``.
        arch: e.g. ``"sm_90a"``.
        macros: become ``-Dname=value``.
        root: folder of the sources; default :func:`nnlab.cuda.sources.folder`.

    Raises:
        CompileError: with the compiler's log.
        MissingExtraError: CuPy, NVRTC or the CUDA headers are not installed.
    """
    text = sources.source(unit, root)
    options = (f"-arch={arch}", *_OPTIONS, *(f"-D{name}={value}" for name, value in sorted(macros.items())))
    key = sources.digest(text, *options, cuda.nvrtc_version(), _FORMAT)
    path = cache.folder() / "kernels" / f"{unit}-{arch}-{key[:24]}.cubin"
    report = path.with_suffix(".json")
    if path.is_file() and report.is_file():
        usage = {name: Usage(**numbers) for name, numbers in json.loads(report.read_text()).items()}
        return Cubin(path, usage, cached=True)
    cubin, log = _nvrtc(text, f"{unit}.cu", options)
    usage = parse_report(log)
    cache.write(report, json.dumps({name: asdict(numbers) for name, numbers in usage.items()}).encode())
    cache.write(path, cubin)
    return Cubin(path, usage, cached=False)


def _nvrtc(text: str, name: str, options: tuple[str, ...]) -> tuple[bytes, str]:
    nvrtc = cuda.nvrtc()
    include = toolkit_include()
    program = nvrtc.createProgram(text, name, (), ())
    try:
        try:
            nvrtc.compileProgram(program, (*options, f"-I{include}"))
        except nvrtc.NVRTCError as error:
            log = nvrtc.getProgramLog(program).rstrip("\x00\n")
            raise CompileError(f"[nvrtc] {name} does not compile with {' '.join(options)} ({error}):\n{log}") from error
        return _whole(nvrtc.getCUBIN(program)), nvrtc.getProgramLog(program)
    finally:
        nvrtc.destroyProgram(program)


def _whole(cubin: bytes) -> bytes:
    """The cubin with its last byte, a zero, which CuPy takes for the end of a string and cuts off.

    An ELF file ends with its program headers; tools that read the file refuse it if it is shorter.
    """
    start, size, count = *struct.unpack_from("<Q", cubin, 32), *struct.unpack_from("<HH", cubin, 54)
    return cubin.ljust(start + size * count, b"\0")
