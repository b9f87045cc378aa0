"""What the bodies tell the gate about the kernels is what the kernel files say."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from nnlab.cuda import sources
from nnlab.cuda.launch import Grid, Kernel, choose, prepare
from nnlab.cuda.variants import Variant, launched, variants
from nnlab.ops import _cuda
from tests.cuda import case
from tests.ops.common import CPU

KERNELS = _cuda.kernels()
TYPES = {"index_t": "index", "acc_t": "acc", "scalar_t": "scalar", "int": "int32", "unsigned": "uint32"}
TYPES["double"] = "float64"
TYPES |= {"Tensors": "scalar*[64]", "ConstTensors": "scalar*[64]", "Sizes": "index[64]"}
_DEFINE = re.compile(r"^#define (\w+) +(.+)$", re.MULTILINE)
_KERNEL = re.compile(
    r'extern "C" __global__ void (?:__launch_bounds__\((?:[^()]|\([^()]*\))*\) )?(\w+)\(((?:[^()]|\([^()]*\))*)\) ?\{'
)


def declared(unit: str) -> dict[str, dict[str, str]]:
    """The kernels of a file: parameters in order, with the types that a description gives them."""
    text = re.sub(r"//[^\n]*", "", sources.source(unit)).replace("\\\n", " ")
    macros = dict(_DEFINE.findall(text))
    text = re.sub(r"\s+", " ", text)
    kernels = _KERNEL.findall(text)
    assert len(kernels) == text.count('extern "C" __global__'), f"{unit}.cu: a kernel that this test cannot read"
    return {name: dict(map(_parameter, _expanded(given, macros).split(","))) for name, given in kernels}


def _expanded(text: str, macros: dict[str, str]) -> str:
    return re.sub(r"\b[A-Z][A-Z0-9_]*\b", lambda word: macros.get(word[0], word[0]), text)


def _parameter(text: str) -> tuple[str, str]:
    *words, name = text.replace("__restrict__", " ").replace("*", " * ").replace("const ", " ").split()
    pointer = "*" if words[-1] == "*" else ""
    kind = " ".join(words).removesuffix(" *")
    return name, TYPES.get(kind, kind) + pointer


@pytest.mark.parametrize("unit", sources.units())
def test_each_kernel_of_a_file_is_described_once_and_rightly(unit: str) -> None:
    described = {kernel.name: list(kernel.parameters.items()) for kernel in KERNELS if kernel.unit == unit}
    assert described == {name: list(parameters.items()) for name, parameters in declared(unit).items()}
    twice = [name for name, count in Counter(kernel.name for kernel in KERNELS).items() if count > 1]
    assert twice == []


def test_macros_of_a_kernels_own_occur_in_its_file() -> None:
    for kernel in KERNELS:
        for macro in kernel.variants:
            assert re.search(rf"\b{macro}\b", sources.source(kernel.unit)), (
                f"{kernel.name} has nothing to do with {macro}"
            )


def test_every_operation_has_cases() -> None:
    for op in sources.units():
        assert case.cases(op), f"tests/cuda/cases/{op}.py has no case"


TILED = Kernel("unit", "unit_forward", {"x": "scalar*"}, ("float32", "float16"), {"TILE": (32, 16), "ROWS": (1, 2, 4)})


def test_variants_are_dtypes_times_index_widths_times_macros() -> None:
    every = list(variants(TILED))
    assert len(every) == len(set(every)) == 2 * 2 * 2 * 3
    assert str(every[0]) == "unit_forward float32 32 TILE=32 ROWS=1"


def test_a_value_is_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a kernel has it; else the body's choice stays."""
    assert choose(TILED) == {"TILE": 32, "ROWS": 1}
    assert choose(TILED, ROWS=4) == {"TILE": 32, "ROWS": 4}
    monkeypatch.setattr("nnlab.cuda.launch.FORCED", {"TILE": 16, "ROWS": 8, "LANES": 2})
    assert choose(TILED, ROWS=4) == {"TILE": 16, "ROWS": 4}


def test_a_launch_names_its_variant() -> None:
    ready = prepare(CPU, TILED, threads=Grid((1,), (1,), macros={"ROWS": 2}), arguments={"x": np.ones(3, np.float16)})
    assert launched(TILED, ready) == Variant("unit_forward", "float16", 32, (("TILE", 32), ("ROWS", 2)))
