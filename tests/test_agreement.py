"""docs/agreement.md says what its tool would write, and no figure of it is much too small here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnlab.backend
import nnlab.ops
from nnlab.backend import emulated
from nnlab.errors import DtypeError
from tests.nn import agreement
from tests.nn.agreement import DTYPES, LAYERS, NO_TWIN, digest
from tests.strict_device import StrictBackend
from tools import agreement_table as table
from tools import gpu_test

STATED, UNITS = table.read(table.FILE.read_text(encoding="utf-8"))
# Another BLAS adds up in another order, another CPU has other vector code for exp and tanh: the errors of a few numbers
# differ by a small factor, where they are not below one rounding. A mistake is larger.
FACTOR = 5.0
pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor is True", "ignore:reduction. 'mean' divides")


def test_the_page_is_what_make_docs_writes() -> None:
    """Layers, kernel files with their digests, what GPUs gave."""
    written = table.FILE.read_text(encoding="utf-8")
    assert written == table.page(STATED, UNITS, table.records()), "out of date: make docs"


@pytest.mark.torch
@pytest.mark.parametrize("name", LAYERS)
def test_figures_are_not_larger_here(name: str) -> None:
    for device in table.MEASURED:
        if device == "emulated" and emulated.why_unusable() is not None:
            continue
        found = agreement.entry(name, device)
        for dtype, figure in found["figures"].items():
            stated = STATED[name, device, dtype]
            if isinstance(figure, str):
                assert figure == stated, (device, dtype)
            else:
                assert figure <= table.allowed(stated, dtype, FACTOR), (device, dtype, stated)
        if device == "emulated":
            assert list(found["kernels"]) == UNITS[name], "out of date: make docs"


def test_figures_are_rounded_up() -> None:
    given = [0.0, 1e-7, 1.01e-7, 2e-7, 4.9e-7, 5.1e-7, 9.9e-4, 3.0, 7.0, float("inf")]
    assert [*map(table.step, given)] == ["0", "1e-7", "2e-7", "2e-7", "5e-7", "1e-6", "1e-3", "5e0", "1e1", "wrong"]
    assert table.allowed("2e-7", "float32", 5) == 1e-6
    assert table.allowed("0", "float64", 5) == 5 * 2.0**-53


def test_what_a_figure_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """One output and one gradient off; NaN; an undeclared error, a declared one; no twin."""
    (case, *_) = agreement.rows("ReLU")
    real = agreement.run

    def broken(change: Any) -> Any:
        def run(*args: Any) -> dict[str, np.ndarray]:
            found = real(*args)
            return change(found) if args[4:] == ("cpu", "float32") else found

        monkeypatch.setattr(agreement, "run", run)
        return agreement.figure([case], "cpu", "float32")

    largest = float(case.draw()[0].astype("float32").max())
    assert broken(lambda found: {**found, "output 0": found["output 0"] + 1.0}) == pytest.approx(1 / largest)
    assert broken(lambda found: {**found, "gradient of input 0": found["gradient of input 0"] * 0}) == 1.0
    assert broken(lambda found: {**found, "output 0": found["output 0"] * np.nan}) == float("inf")
    assert broken(lambda found: {}) == "failed: ValueError: results [] are not ['output 0', 'gradient of input 0']"

    def refuse(found: Any) -> Any:
        raise DtypeError("float32 is not taken")

    assert broken(refuse) == "-"
    assert agreement.figure(agreement.rows("Dropout"), "cpu", "float64") == NO_TWIN


def record(figures: dict[str, Any], kernels: dict[str, str]) -> dict[str, Any]:
    return {"machine": {"gpu": "A Card"}, "layers": {"Conv2d": {"figures": figures, "kernels": kernels}}}


def test_a_gpus_figure_stands_while_its_kernels_are_these() -> None:
    figures = {"float64": 3e-16, "float32": 0.0, "float16": "-", "bfloat16": "failed: TypeError: no such dtype"}
    now = record(figures, {"conv": digest("conv")})
    assert [table.on_cuda("Conv2d", dtype, [now]) for dtype in DTYPES] == ["5e-16", "0", "-", "failed"]
    assert table.on_cuda("Linear", "float64", [now]) == "not run"
    larger = record({"float64": 6e-16}, {"conv": digest("conv")})
    assert table.on_cuda("Conv2d", "float64", [now, larger]) == "1e-15"
    old = record({"float64": 3e-16}, {"conv": "01234567"})
    assert table.on_cuda("Conv2d", "float64", [old]) == "not run"
    assert table.on_cuda("Conv2d", "float64", [old, now]) == "5e-16"
    text = table.page(STATED, UNITS, [now])
    row = next(line for line in text.splitlines() if line.startswith("| `Conv2d`"))
    files = ", ".join(f"{unit} `{digest(unit)}`" for unit in ("conv", "conv_mma", "conv_mma_precise"))
    assert row.endswith(f" | 5e-16 | 0 | - | failed | {files} |")
    assert text.endswith("GPUs with a record: A Card.\n")
    assert table.read(text) == (STATED, UNITS)


def test_from_a_gpus_report_into_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What tests/cuda/test_gpu_agreement.py notes down goes through the report; arrays as strict as CuPy's stand in."""
    backend, real = StrictBackend(), nnlab.backend._backend
    monkeypatch.setattr(nnlab.backend, "_backend", lambda kind, i: backend if kind == "cuda" else real(kind, i))
    monkeypatch.setattr(nnlab.ops, "CUDA_KERNELS", frozenset())
    outcomes, given = gpu_test.Outcomes(), {name: agreement.entry(name, "cuda") for name in ("Linear", "Softmax")}
    for name, entry in given.items():
        report: Any = type("Report", (), {"when": "call", "passed": True, "outcome": "passed", "duration": 1.0})()
        report.nodeid, report.user_properties = name, [("agreement", {name: entry})]
        outcomes.pytest_runtest_logreport(report)
    gpu_test.write_agreement(tmp_path / "a-card", {"gpu": "A Card"}, outcomes.tests)
    assert "agreement" not in outcomes.tests["Linear"]
    found = table.records(tmp_path)
    for name, entry in given.items():
        for dtype, figure in entry["figures"].items():
            assert 0 <= figure <= table.allowed(STATED[name, "emulated", dtype], dtype, FACTOR)
            assert table.on_cuda(name, dtype, found) == table.step(figure)
    gpu_test.write_agreement(tmp_path / "nothing", {}, {"a test": {"outcome": "passed"}})
    assert not (tmp_path / "nothing").exists()
