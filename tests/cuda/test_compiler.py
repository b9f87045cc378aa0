"""Kernels compile without a GPU, and are compiled only once."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest

from nnlab.cuda import compiler, sources
from nnlab.cuda.launch import dtype_macros
from nnlab.errors import DataError, MissingExtraError

MACROS = dtype_macros("float32", 32)


@pytest.fixture(autouse=True)
def _own_cache(kernel_cache: Path) -> None:
    """No test of this file sees another's compiled kernels."""


@pytest.fixture
def nvrtc() -> None:
    try:
        compiler.toolkit_include()
    except MissingExtraError as error:
        pytest.skip(str(error))


def _editable_kernels(folder: Path) -> Path:
    return Path(shutil.copytree(sources.folder(), folder / "kernels"))


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("unit", sources.units())
def test_compiles_without_a_gpu(unit: str) -> None:
    """One build of each file; `make kernels` compiles all for every architecture."""
    cubin = compiler.compile_unit(unit, arch="sm_90a", macros=MACROS)
    assert cubin.path.read_bytes().startswith(b"\x7fELF")
    assert cubin.usage
    assert all(name.startswith(f"{unit}_") for name in cubin.usage)
    assert all(0 < usage.registers <= 255 for usage in cubin.usage.values())


@pytest.mark.usefixtures("nvrtc")
def test_a_cubin_is_a_whole_elf_file() -> None:
    """CuPy's binding of NVRTC drops the last byte, which is one of the program headers'."""
    cubin = compiler.compile_unit("dropout", arch="sm_80", macros=MACROS).path.read_bytes()
    program, sections = struct.unpack_from("<QQ", cubin, 32)
    (size, count), (section_size, section_count) = (struct.unpack_from("<HH", cubin, at) for at in (54, 58))
    assert len(cubin) == max(program + size * count, sections + section_size * section_count)
    assert compiler._whole(cubin) == compiler._whole(cubin[:-1]) == cubin


@pytest.mark.usefixtures("nvrtc")
def test_second_time_from_the_cache(kernel_cache: Path) -> None:
    first = compiler.compile_unit("dropout", arch="sm_80", macros=MACROS)
    second = compiler.compile_unit("dropout", arch="sm_80", macros=MACROS)
    assert (first.cached, second.cached) == (False, True)
    assert first.path == second.path
    assert first.usage == second.usage
    assert first.path.is_relative_to(kernel_cache)
    assert sorted(path.suffix for path in kernel_cache.rglob("*.*")) == [".cubin", ".json"]  # no temporary files left


@pytest.mark.usefixtures("nvrtc")
def test_macros_and_architecture_are_in_the_key() -> None:
    paths = {
        compiler.compile_unit("dropout", arch=arch, macros=dtype_macros(dtype, bits)).path
        for arch in ("sm_80", "sm_90a")
        for dtype in ("float32", "float64")
        for bits in (32, 64)
    }
    assert len(paths) == 8


@pytest.mark.usefixtures("nvrtc")
def test_an_edited_header_is_compiled_anew(tmp_path: Path) -> None:
    root = _editable_kernels(tmp_path)
    before = compiler.compile_unit("dropout", arch="sm_80", macros=MACROS, root=root)
    header = root / "include" / "philox.cuh"
    header.write_text(header.read_text().replace("round < 10", "round < 7"))
    after = compiler.compile_unit("dropout", arch="sm_80", macros=MACROS, root=root)
    assert not after.cached
    assert after.path.read_bytes() != before.path.read_bytes()


@pytest.mark.usefixtures("nvrtc")
def test_an_error_in_a_header_is_reported_with_its_file_and_line(tmp_path: Path) -> None:
    root = _editable_kernels(tmp_path)
    header = root / "include" / "philox.cuh"
    line = len(header.read_text().splitlines()) + 1
    header.write_text(header.read_text() + "undeclared_type x;\n")
    with pytest.raises(compiler.CompileError, match=rf"include/philox\.cuh\({line}\): error: .*undeclared_type"):
        compiler.compile_unit("dropout", arch="sm_80", macros=MACROS, root=root)


@pytest.mark.usefixtures("nvrtc")
def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("NNLAB_CACHE_DIR", str(blocked))
    with pytest.raises(DataError, match="NNLAB_CACHE_DIR"):
        compiler.compile_unit("dropout", arch="sm_80", macros=MACROS)


def test_parse_report() -> None:
    log = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'first' for 'sm_80'
ptxas info    : Function properties for first
ptxas         .     64 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 8192 bytes smem, 400 bytes cmem[0]
ptxas info    : Compiling entry function 'second' for 'sm_80'
ptxas info    : Function properties for second
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers, used 0 barriers
"""
    assert compiler.parse_report(log) == {
        "first": compiler.Usage(registers=40, stack=64, spill_stores=12, spill_loads=16, shared=8192),
        "second": compiler.Usage(registers=8, stack=0, spill_stores=0, spill_loads=0, shared=0),
    }
    with pytest.raises(compiler.CompileError, match="'first' has an unknown form"):
        compiler.parse_report("Compiling entry function 'first' for 'sm_80'\nsomething else\n")
