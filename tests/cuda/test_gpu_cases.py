"""On a real GPU: every build of every kernel on its cases, against float64 loops. Skipped elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nnlab.backend import get_backend
from tests.cuda import case

pytestmark = pytest.mark.gpu
PROBLEMS = case.problems()


@pytest.mark.parametrize("problem", PROBLEMS, ids=case.problem_id)
def test_case(problem: tuple[Any, ...], record_property: Callable[[str, object], None]) -> None:
    launched = case.run(get_backend("cuda"), *problem, orders=(None,))
    record_property("kernel variants on a GPU", sorted(map(str, launched)))
