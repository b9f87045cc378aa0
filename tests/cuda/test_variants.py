"""Every build of every kernel is run on cases drawn at random, under several orders of threads, against float64 loops.

tests/cuda/cases/<op>.py holds the cases; tests/cuda/variant_report.py says after a run which builds none of them
launched.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import pytest

from tests import emulator
from tests.cuda import case
from tests.cuda.checked_report import CHECKED
from tests.cuda.variant_report import LAUNCHED, TOTAL

EMULATED = emulator.backend()
PROBLEMS = case.problems()
CHECKED_ORDERS = ("ascending", 1)  # the checker finds a race under every order; small grids too


@pytest.mark.parametrize("problem", PROBLEMS, ids=case.problem_id)
def test_case(
    problem: tuple[Any, ...], record_property: Callable[[str, object], None], request: pytest.FixtureRequest
) -> None:
    """With ``--checked`` each access of memory is looked at."""
    record_property(TOTAL, len(PROBLEMS))
    with EMULATED.checked() if request.config.getoption("--checked") else nullcontext() as report:
        launched = case.run(EMULATED, *problem, orders=case.ORDERS if report is None else CHECKED_ORDERS)
    record_property(LAUNCHED, sorted(map(str, launched)))
    if report is not None:
        record_property(CHECKED, {kernel: asdict(counts) for kernel, counts in report.kernels.items()})
