"""The machine code of the tensor-core convolutions is what their sources plan; needs NVRTC and nvdisasm, no GPU.

tests/cuda/sass.json keeps how many instructions the main loops have and how many blocks fit a multiprocessor; ``make
kernels ARGS=--update`` writes it anew.
"""

from __future__ import annotations

import json
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from nnlab.backend import cuda
from nnlab.cuda import compiler, sources
from nnlab.cuda.compiler import Usage, compile_unit
from nnlab.cuda.launch import Kernel, dtype_macros
from nnlab.cuda.variants import INDEX_BITS, Variant
from nnlab.errors import MissingExtraError
from nnlab.ops._cuda import conv_mma, conv_mma_precise
from tests.cuda import sass
from tests.cuda.sass import LIMITS, Code, count

FILE = Path(__file__).with_name("sass.json")
PRODUCTS = {"float16": "HMMA.16816.F32", "bfloat16": "HMMA.16816.F32.BF16", "float32": "HMMA.1688.F32.TF32"}
# What may reach memory in a main loop: copies to shared memory, shared memory, parameters.
IN_THE_LOOP = ("LDGSTS.", "LDGDEPBAR", "LDSM.", "LDS", "STS", "LDC", "LDCU")
KERNELS = [*conv_mma._KERNELS.values(), *conv_mma_precise.KERNELS.values()]
BUILDS = [
    (kernels[0].unit, dtype, bits, tile, arch)
    for kernels in map(list, (conv_mma._KERNELS.values(), conv_mma_precise.KERNELS.values()))
    for dtype, bits, tile, arch in product(kernels[0].dtypes, INDEX_BITS, kernels[0].variants["TILE_N"], LIMITS)
]


@pytest.fixture(scope="module")
def _tools(request: pytest.FixtureRequest) -> None:
    try:
        compiler.toolkit_include()
        sass.nvdisasm()
    except MissingExtraError as error:
        if request.config.getoption("--require-nvdisasm"):
            pytest.fail(f"--require-nvdisasm, but {error}", pytrace=False)
        pytest.skip(str(error))


def compiled(
    unit: str, dtype: str, bits: int, tile: int, arch: str, root: Path | None = None
) -> tuple[dict[str, Usage], dict[str, Code]]:
    cubin = compile_unit(unit, arch=arch, macros=dtype_macros(dtype, bits) | {"TILE_N": tile}, root=root)
    return cubin.usage, sass.disassembled(cubin.path)


def complaints(name: str, code: Code, dtype: str, tile: int) -> list[str]:
    """What is not as planned for a tile of 128 x ``tile``, of 256 threads and slices of 128 bytes a row."""
    loop, columns = code.main_loop(), name.endswith("weight_grad")
    # Of a warp, 16 x 8 results a product, 4 steps a slice; of a thread, 16 bytes a copy; four matrices a load.
    products = 128 * tile // 8 // (16 * 8) * 4 * (3 if "precise" in name else 1)
    copies = (128 + tile) * 128 // 16 // 256
    loads = 0 if columns and dtype == "float32" else 4 * (tile // 32 + 2)
    load = "LDSM.16.MT88.4" if columns else "LDSM.16.M88.4"
    wanted = {
        PRODUCTS[dtype]: products,
        "LDGSTS.E.BYPASS.128": copies,
        load: loads,
        "BAR.": 1,  # one barrier a slice
        "DEPBAR.LE": 1,  # one wait
        "LDGDEPBAR": 1,  # one group of copies
    }
    wrong = [f"{op}: {count(loop, op)}, not {n}" for op, n in wanted.items() if count(loop, op) != n]
    others = {"HMMA": PRODUCTS[dtype], "LDGSTS": "LDGSTS.E.BYPASS.128", "LDSM": load}
    for i in code.instructions:
        kind = i.op.partition(".")[0]
        if kind in others and i.op not in (others[kind], f"{others[kind]}.ZFILL"):
            wrong.append(f"{i.op} beside {others[kind]}")
        if kind in ("LDL", "STL"):
            wrong.append(f"{i.op}: local memory")
    wrong += [
        f"{i.op} in the main loop"
        for i in loop
        if i.op.startswith(("LD", "ST", "ATOM", "RED")) and not i.op.startswith(IN_THE_LOOP)
    ]
    waits = [i.operands for i in loop if i.op == "DEPBAR.LE"]
    if waits != [f"SB0, {conv_mma.STAGES - 2:#x}"]:
        wrong.append(f"waits {waits}: not until all but {conv_mma.STAGES - 2} groups of copies have landed")
    if not columns and count(loop, "LDS.") + sum(i.op == "LDS" and not i.never for i in loop):
        wrong.append("loads of single words from shared memory in the main loop")
    return list(dict.fromkeys(wrong))


def kept() -> dict[str, Any]:
    return json.loads(FILE.read_text()) if FILE.is_file() else {}


def write(figures: dict[str, Any]) -> None:
    """One line a build, so that a change shows."""
    described = {kernel.name: kernel for kernel in KERNELS}
    lines = [
        f" {json.dumps(build)}: {json.dumps(values)}"
        for build, values in sorted(figures.items())
        if build == "nvrtc" or build.split()[0] in described
    ]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def compared(build: str, found: dict[str, int], old: dict[str, int] | None) -> list[str]:
    """What has become worse."""
    if old is None:
        return [f"{FILE.name} has no figures of {build}: {found}"]
    worse = []
    if found["loop"] > old["loop"]:
        worse.append(f"{build}: {old['loop']} -> {found['loop']} instructions in the main loop")
    if found["blocks"] < old["blocks"]:
        worse.append(f"{build}: {old['blocks']} -> {found['blocks']} blocks on a multiprocessor")
    return worse


@pytest.mark.usefixtures("_tools")
@pytest.mark.parametrize(("unit", "dtype", "bits", "tile", "arch"), BUILDS)
def test_machine_code(
    unit: str, dtype: str, bits: int, tile: int, arch: str, request: pytest.FixtureRequest, record_property: Any
) -> None:
    usage, codes = compiled(unit, dtype, bits, tile, arch)
    shared = conv_mma.STAGES * (conv_mma.ROWS + tile) * conv_mma.SLICE + conv_mma.TABLES
    found = {}
    kernels: list[Kernel] = [kernel for kernel in KERNELS if kernel.unit == unit]
    assert {kernel.name for kernel in kernels} == set(codes)
    for name, code in codes.items():
        assert complaints(name, code, dtype, tile) == [], name
        assert usage[name].stack == 0, name
        loop = code.main_loop()
        blocks = sass.blocks_together(usage[name], arch, conv_mma.THREADS, shared)
        assert blocks >= 1, name
        build = f"{Variant(name, dtype, bits, (('TILE_N', tile),))} {arch}"
        found[build] = {"loop": len(loop), "blocks": blocks}
        record_property(build, f"{len(loop) / count(loop, 'HMMA'):.1f} instructions a product")
    figures = kept()
    if request.config.getoption("--update-sass"):
        write(figures | found | {"nvrtc": cuda.nvrtc_version()})
    elif figures["nvrtc"] == cuda.nvrtc_version():  # another compiler makes other code
        worse = [line for build, values in found.items() for line in compared(build, values, figures.get(build))]
        assert not worse, "if that is meant, `make kernels ARGS=--update` writes the figures anew"


def test_figures_of_builds_that_there_are() -> None:
    names = {unit: [kernel.name for kernel in KERNELS if kernel.unit == unit] for unit, *_ in BUILDS}
    builds = {
        f"{Variant(name, dtype, bits, (('TILE_N', tile),))} {arch}"
        for unit, dtype, bits, tile, arch in BUILDS
        for name in names[unit]
    }
    assert set(kept()) == builds | {"nvrtc"}


# What is broken in a header, in which build, and how that is noticed.
BREAKS = [
    ("include/conv_mma.cuh", "    wait_copies<stages - 2>();\n    __syncthreads();\n    if (k + stages - 1 < count) {",
     "    wait_copies<stages - 2>();\n    __syncthreads();\n    __syncthreads();\n    if (k + stages - 1 < count) {",
     "conv_mma_forward", "BAR.: 2, not 1"),
    ("include/conv_mma.cuh", "wait_copies<stages - 2>", "wait_copies<0>",
     "conv_mma_forward", "waits ['SB0, 0x0']: not until all but 1 groups of copies have landed"),
    ("include/async_copy.cuh", "cp.async.cg.shared.global", "cp.async.ca.shared.global",
     "conv_mma_input_grad", "LDGSTS.E.BYPASS.128: 0, not 6"),
    ("include/mma_tile.cuh", "load_matrices_transposed(words", "load_matrices(words",
     "conv_mma_weight_grad", "LDSM.16.M88.4 beside LDSM.16.MT88.4"),
    ("include/mma_tile.cuh", "steps = 4;", "steps = 3;", "conv_mma_forward", "HMMA.16816.F32: 24, not 32"),
]  # fmt: skip


@pytest.mark.usefixtures("_tools")
@pytest.mark.parametrize(("header", "text", "broken", "kernel", "complaint"), BREAKS, ids=[b[-1] for b in BREAKS])
def test_broken_kernels_are_noticed(
    header: str, text: str, broken: str, kernel: str, complaint: str, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(sources.folder(), tmp_path / "kernels"))
    source = (root / header).read_text()
    assert text in source
    (root / header).write_text(source.replace(text, broken))
    _, codes = compiled("conv_mma", "float16", 32, 64, "sm_80", root)
    assert complaint in complaints(kernel, codes[kernel], "float16", 64)


@pytest.mark.usefixtures("_tools")
def test_spills_are_noticed() -> None:
    """Sums in two parts do not fit the registers of a wide tile."""
    _, codes = compiled("conv_mma_precise", "float32", 64, 128, "sm_80")
    wrong = complaints("conv_mma_precise_forward", codes["conv_mma_precise_forward"], "float32", 128)
    assert any("local memory" in line for line in wrong)


def test_worse_figures_are_named() -> None:
    old = {"loop": 300, "blocks": 2}
    assert compared("k", old, old) == compared("k", {"loop": 299, "blocks": 3}, old) == []
    assert compared("k", {"loop": 301, "blocks": 1}, old) == [
        "k: 300 -> 301 instructions in the main loop",
        "k: 2 -> 1 blocks on a multiprocessor",
    ]
    assert compared("k", old, None) == ["sass.json has no figures of k: {'loop': 300, 'blocks': 2}"]


def test_loops_and_instructions() -> None:
    """The text that nvdisasm writes."""
    text = """
\t.section\t.text.first,"ax",@progbits
.text.first:
        /*0000*/                   IMAD.MOV.U32 R1, RZ, RZ, c[0x0][0x28] ;
.L_x_2:
.L_x_1:
        /*0010*/              @!PT LDS RZ, [RZ] ;
        /*0020*/                   HMMA.16816.F32 R4, R8, R12, R4 ;
        /*0030*/               @P1 BRA `(.L_x_1) ;
        /*0040*/                   BRA `(.L_x_3) ;
        /*0050*/               @P0 BRA `(.L_x_2) ;
.L_x_3:
        /*0060*/                   EXIT ;
.text.second:
        /*0000*/                   EXIT ;
"""
    codes = dict(sass.parsed(text))
    assert [len(code.instructions) for code in codes.values()] == [7, 1]
    assert codes["first"].loops == [(1, 3), (1, 5)]
    assert [i.op for i in codes["first"].main_loop()] == ["LDS", "HMMA.16816.F32", "BRA"]
    assert count(codes["first"].instructions, "LDS") == 0
    assert codes["second"].main_loop() == []


def test_blocks_together() -> None:
    """Each limit once, by hand."""

    def blocks(registers: int, arch: str, threads: int, shared: int) -> int:
        return sass.blocks_together(Usage(registers, 0, 0, 0, 0), arch, threads, shared)

    assert blocks(255, "sm_80", 256, 0) == 1  # 8192 registers a warp: 8 warps
    assert blocks(128, "sm_80", 256, 0) == 2
    assert blocks(129, "sm_80", 256, 0) == 1  # 4352 a warp, 3 in a quarter
    assert blocks(32, "sm_80", 256, 99 << 10) == 1
    assert blocks(32, "sm_90a", 256, 99 << 10) == 2
    assert blocks(32, "sm_86", 256, 99 << 10) == 1
    assert blocks(32, "sm_86", 256, (99 << 10) + 1) == 0
    assert blocks(32, "sm_86", 256, 0) == 6  # 48 warps
    assert blocks(32, "sm_89", 32, 0) == 24
