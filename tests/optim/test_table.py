"""The tables of optimizers are whole: steps like PyTorch's, for every optimizer and each of its options."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from nnlab import optim
from tests.optim import test_second_order
from tests.optim.test_optimizers import CASES
from tests.optim.test_second_order import LBFGS_CASES

CLASSES = [name for name in optim.__all__ if isinstance(getattr(optim, name), type)]
ROWS = [*CASES, *(("LBFGS", options) for options in LBFGS_CASES)]

# Without a twin in PyTorch: the test of test_second_order.py that knows the answer.
ALONE = {
    "Newton": "test_newton_is_at_the_minimum_of_a_quadratic_after_one_step",
    "LineSearch": "test_line_search_with_many_rates_finds_the_best_step_of_a_quadratic",
    "Optimizer": "test_options_are_plain",  # the base of all
}


@pytest.mark.parametrize("name", CLASSES)
def test_every_option_is_tried(name: str) -> None:
    if name in ALONE:
        assert callable(getattr(test_second_order, ALONE[name]))
        return
    rows: list[dict[str, Any]] = [options for kind, options in ROWS if kind == name]
    parameters = inspect.signature(getattr(optim, name)).parameters.values()
    for one in list(parameters)[1:]:
        assert any(row.get(one.name, one.default) != one.default for row in rows), one.name
