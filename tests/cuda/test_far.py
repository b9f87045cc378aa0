"""Every kernel at the end of arrays whose indices 32 bits do not hold."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nnlab.cuda import sources
from tests import emulator
from tests.cuda import common, far

emulator.backend()
if sys.platform != "linux":
    pytest.skip("memory that is not there until it is touched: Linux", allow_module_level=True)
CASES = [(op, name) for op in sources.units() for name in far.cases(op)]


@pytest.mark.parametrize(("op", "name"), CASES)
def test_case(op: str, name: str) -> None:
    far.run(op, name)


def test_a_narrow_index_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old, new = "(index_t)blockIdx.x * (index_t)blockDim.x", "blockIdx.x * blockDim.x"
    common.break_sources(monkeypatch, tmp_path, "include/indexing.cuh", old, new)
    with pytest.raises(AssertionError):
        far.run("relu", "far_elements")
