"""Every build of every kernel is run on cases drawn at random, under several orders of threads, against float64 loops.

tests/cuda/cases/<op>.py holds the cases; tests/cuda/variant_report.py says after a run which builds none of them
launched.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from nnlab.cuda.variants import INDEX_BITS
from tests import emulator
from tests.cuda import case
from tests.cuda.variant_report import LAUNCHED, TOTAL

EMULATED = emulator.backend()
PROBLEMS = [
    (op, name, dtype, bits, macros)
    for op, name in case.all_cases()
    for dtype, bits, macros in product(case.dtypes(op), INDEX_BITS, case.macro_choices(op))
]


def _id(problem: tuple[Any, ...]) -> str:
    op, name, dtype, bits, macros = problem
    return "-".join([op, name, dtype, str(bits), *(f"{macro}={value}" for macro, value in macros.items())])


@pytest.mark.parametrize("problem", PROBLEMS, ids=_id)
def test_case(problem: tuple[Any, ...], record_property: Callable[[str, object], None]) -> None:
    record_property(TOTAL, len(PROBLEMS))
    record_property(LAUNCHED, sorted(map(str, case.run(EMULATED, *problem))))
