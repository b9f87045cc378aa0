"""The example of the checkerboard runs, and its own assertions hold and can fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.conftest import Run


def test_it_runs(example: Run, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the photograph comes with scikit-learn (extra demo)")
    names = example("checkerboard")
    names["main"](["--out", str(tmp_path / "run")])
    found = json.loads((tmp_path / "run" / "numbers.json").read_text())
    assert (tmp_path / "run" / "checkerboard.png").read_bytes().startswith(b"\x89PNG")
    names["check"](found)
    with pytest.raises(AssertionError, match="nearest"):
        names["check"](found | {"nearest, then 3 × 3, random": 1e-6})
    with pytest.raises(AssertionError):
        names["check"](found | {"transposed 4 × 4, random": 0.0})
