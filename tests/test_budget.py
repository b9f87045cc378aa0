"""tools/budget.py: what counts as a rise, what needs a reason, and that the file knows every build."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from nnlab.cuda.compiler import Usage
from nnlab.cuda.variants import variants
from nnlab.ops._cuda import kernels
from tools import budget

ARCHS = ["sm_80", "sm_90a"]


def found(registers: int = 20, shared: int = 0, spilled: int = 0, name: str = "a float32 32") -> budget.Found:
    return {
        (name, "sm_80"): Usage(30, 0, 0, 0, 64),
        (name, "sm_90a"): Usage(registers, 0, spilled, spilled, shared),
    }


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "budget.json"
    monkeypatch.setattr(budget, "FILE", path)
    monkeypatch.setattr(budget.Budget.read.__func__, "__defaults__", (path,))
    monkeypatch.setattr(budget.Budget.write, "__defaults__", (path,))
    budget.made_of(found(), "13.0", ARCHS).write()
    return path


def finish(seen: budget.Found, version: str = "13.0", update: bool = False, reason: str | None = None) -> int:
    return budget.finish(seen, budget.spills(seen), version, ARCHS, Namespace(update=update, reason=reason))


def test_written_and_read(file: Path) -> None:
    read = budget.Budget.read()
    assert read.registers == {"a float32 32": [30, 20]}
    assert read.shared == {"a float32 32": [64, 0]}


@pytest.mark.parametrize(
    ("seen", "status", "words"),
    [
        (found(), 0, ""),
        (found(19), 0, "1 builds are new or take less, 0 are gone"),
        (found(21), 1, "a float32 32 on sm_90a: 21 registers, the budget is 20"),
        (found(shared=4), 1, "a float32 32 on sm_90a: 4 bytes of shared memory, the budget is 0"),
        (found(spilled=8), 1, "a float32 32 on sm_90a spills: 8 bytes stored"),
        (found(name="b float32 32"), 0, "1 builds are new or take less, 1 are gone"),
    ],
)
def test_compared(file: Path, capsys: pytest.CaptureFixture[str], seen: budget.Found, status: int, words: str) -> None:
    before = file.read_text()
    assert finish(seen) == status
    assert words in capsys.readouterr().out
    assert file.read_text() == before


def test_another_compiler_checks_spills_alone(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert finish(found(99), version="13.1") == 0
    assert "spills alone checked" in capsys.readouterr().out
    assert finish(found(spilled=8), version="13.1") == 1


def test_an_update_lowers_but_raises_only_with_a_reason(file: Path) -> None:
    assert finish(found(18), update=True) == 0
    assert budget.Budget.read().registers["a float32 32"] == [30, 18]
    assert finish(found(25), update=True) == 1
    assert budget.Budget.read().registers["a float32 32"] == [30, 18]
    assert finish(found(25), update=True, reason="two rows a thread") == 0
    assert budget.Budget.read().reasons == {"a float32 32": "two rows a thread"}
    assert finish(found(24), update=True) == 0
    assert budget.Budget.read().reasons == {"a float32 32": "two rows a thread"}
    assert finish(found(spilled=8), update=True, reason="no") == 1


def test_the_budget_knows_every_build() -> None:
    """`make kernels ARGS=--update` after a kernel is new, changed its macros or went."""
    assert set(budget.Budget.read().registers) == {str(v) for kernel in kernels() for v in variants(kernel)}
