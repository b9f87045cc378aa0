"""The example of convolution matrices runs, and its own assertions hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.conftest import Run


def test_it_runs(example: Run, tmp_path: Path) -> None:
    example("toeplitz")["main"](["--out", str(tmp_path)])
    assert (tmp_path / "toeplitz.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "numbers.json").read_text())
    assert [case["weights"] for case in found.values()] == [60, 74, 37, 256, 64, 486]
    names = example("toeplitz")
    both = {case.title: names["matrix_and_errors"](case) for case in names["CASES"]}
    matrices, errors = {k: m.copy() for k, (m, _) in both.items()}, {k: e for k, (_, e) in both.items()}
    names["check"](matrices, errors)
    matrices[names["CASES"][1].title][3, 3] *= 2
    with pytest.raises(AssertionError):
        names["check"](matrices, errors)
