"""The bias' gradient out of the pass of the weights' on tensor cores: broken in one place, it is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cuda import case
from tests.cuda.common import EMULATED, NOTICED, break_sources


@pytest.mark.parametrize("name", ["standard", "several_tiles_and_parts"])
def test_unbroken(name: str) -> None:
    case.run(EMULATED, "conv_mma", name, "float16", 32, {"TILE_N": 64}, orders=("ascending",))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("standard", "k += workers / tile_m) {\n    sum", "k += workers) {\n    sum"),
        ("standard", "i < workers; i += tile_m) bias +=", "i < tile_m; i += tile_m) bias +="),
        ("standard", "if (adds) bias += channel_sum", "if (adds) bias = channel_sum"),
        (
            "standard",
            "  shared.memory.result[thread] = bias;\n  __syncthreads();",
            "  shared.memory.result[thread] = bias;",
        ),
        ("several_tiles_and_parts", "[(part * groups + group) * outputs + spot.row0 + thread]", "[spot.row0 + thread]"),
        ("several_tiles_and_parts", "outputs + spot.row0 + thread] = bias", "outputs + thread] = bias"),
    ],
)
def test_a_broken_sum_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, old: str, new: str
) -> None:
    break_sources(monkeypatch, tmp_path, "include/conv_mma.cuh", old, new)
    with pytest.raises(NOTICED):
        case.run(EMULATED, "conv_mma", name, "float16", 32, {"TILE_N": 64}, orders=("ascending", 1))
