"""docs/kernels.md says what the kernels' descriptions say."""

from __future__ import annotations

from nnlab.ops import _cuda
from tools import kernel_table


def test_the_table_is_what_make_docs_writes() -> None:
    assert kernel_table.FILE.read_text(encoding="utf-8") == kernel_table.table(), "out of date: make docs"


def test_every_array_has_its_shape() -> None:
    for kernel in _cuda.kernels():
        arrays = {name for name, kind in kernel.parameters.items() if "*" in kind}
        assert set(kernel_table._shapes(kernel.unit)[kernel.name]) == arrays, kernel.name
