"""The cases notice: wrong values, dependence on the order of threads, variants that no case launches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnlab.cuda.launch import Kernel
from nnlab.cuda.variants import variants
from nnlab.ops import _cuda
from tests.cuda import case, common
from tests.cuda.variant_report import LAUNCHED, TOTAL, VariantReport

EVERY = sorted(str(variant) for kernel in _cuda.kernels() for variant in variants(kernel))


def relu(name: str = "both_passes", dtype: str = "float32") -> list[str]:
    return sorted(map(str, case.run(common.EMULATED, "relu", name, dtype, 64, {})))


def test_what_was_launched() -> None:
    assert relu() == ["relu_backward float32 64", "relu_forward float32 64"]


def test_a_wrong_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    common.break_sources(monkeypatch, tmp_path, "relu.cu", "value > 0 ||", "value >= 1 ||")
    with pytest.raises(AssertionError, match="not equal"):
        relu()


def test_a_kernel_that_depends_on_the_order_of_threads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each thread spoils its neighbour's element, which in ascending order is then overwritten."""
    old = "y[i] = to_scalar(value"
    common.break_sources(monkeypatch, tmp_path, "relu.cu", old, f"if (i + 1 < n) y[i + 1] = x[0]; {old}")
    with pytest.raises(case.ScheduleError, match="depends on the order"):
        relu()


def test_a_case_that_compares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case, "cases", lambda op: {"both_passes": lambda case: None})
    with pytest.raises(AssertionError, match="compares nothing"):
        relu()


def test_near() -> None:
    wanted = np.array([1.0, 1e-8])
    case.near(np.array([1 + 2e-7, 0], np.float32), wanted, 1)
    for wrong, terms in [([1 + 2e-6, 1e-8], 1), ([1 + 2e-7, 1e-8], None), ([np.nan, 1e-8], 1)]:
        with pytest.raises(AssertionError):
            case.near(np.array(wrong, np.float32), wanted, terms)
    with pytest.raises(AssertionError, match="shape"):
        case.near(np.ones((2, 1)), np.ones(2), 1)


def _report(test: str, launched: list[str], total: int, outcome: str = "passed") -> pytest.TestReport:
    properties = [(TOTAL, total), (LAUNCHED, launched)]
    return pytest.TestReport(test, ("", 0, ""), {}, outcome, None, "call", user_properties=properties)  # type: ignore[arg-type]


class _Session:
    exitstatus: int = pytest.ExitCode.OK


@pytest.mark.parametrize(
    ("dropped", "outcome", "total", "fails"),
    [(0, "passed", 2, False), (1, "passed", 2, True), (1, "passed", 3, False), (1, "failed", 2, False)],
)
def test_a_whole_run_that_left_out_a_variant_fails(dropped: int, outcome: str, total: int, fails: bool) -> None:
    report, session = VariantReport(), _Session()
    report.pytest_runtest_logreport(_report("first", EVERY[: 10 - dropped], total))
    report.pytest_runtest_logreport(_report("second", EVERY[10:], total, outcome))
    report.pytest_sessionfinish(session)  # type: ignore[arg-type]
    assert (session.exitstatus != pytest.ExitCode.OK) == fails
    if outcome == "passed":
        assert report.missing() == EVERY[10 - dropped : 10]


def test_macros_multiply_the_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = [Kernel("u", "a", {}, variants={"TILE": (32, 16)}), Kernel("u", "b", {}, variants={"TILE": (16, 8)})]
    monkeypatch.setattr(case._cuda, "kernels", lambda *ops: kernels)
    assert case.macro_choices("u") == [{"TILE": 32}, {"TILE": 16}, {"TILE": 8}]
