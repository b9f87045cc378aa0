"""Every build of every kernel is run on cases drawn at random, under several orders of threads, against float64 loops.

tests/cuda/cases/<op>.py holds the cases; tests/cuda/variant_report.py says after a run which builds none of them
launched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests import emulator
from tests.cuda import case
from tests.cuda.variant_report import LAUNCHED, TOTAL

EMULATED = emulator.backend()
PROBLEMS = case.problems()


@pytest.mark.parametrize("problem", PROBLEMS, ids=case.problem_id)
def test_case(problem: tuple[Any, ...], record_property: Callable[[str, object], None]) -> None:
    record_property(TOTAL, len(PROBLEMS))
    record_property(LAUNCHED, sorted(map(str, case.run(EMULATED, *problem))))
