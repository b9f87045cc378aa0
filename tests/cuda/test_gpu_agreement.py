"""On a real GPU: every layer in every dtype against float64 on the CPU, for docs/agreement.md. Skipped elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.nn.agreement import LAYERS, entry
from tools import agreement_table as table

pytestmark = pytest.mark.gpu
STATED, UNITS = table.read(table.FILE.read_text(encoding="utf-8"))
# The emulated kernels' errors; functions such as exp err by a few units more on a GPU, its BLAS adds in another order.
FACTOR = 20.0


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str, record_property: Callable[[str, object], None]) -> None:
    found = entry(name, "cuda")
    record_property("agreement", {name: found})
    for dtype, figure in found["figures"].items():
        if isinstance(figure, str):
            # CuPy takes bfloat16 experimentally: what it does not do is noted down.
            assert figure == STATED[name, "emulated", dtype] or dtype == "bfloat16", figure
        else:
            assert figure <= table.allowed(STATED[name, "emulated", dtype], dtype, FACTOR), dtype
