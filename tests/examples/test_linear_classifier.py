"""The example of linear classifiers runs, and its own assertions hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.conftest import Run


def test_it_runs(example: Run, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    example("linear_classifier")["main"](["--out", str(tmp_path)])
    assert (tmp_path / "linear_classifier.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "numbers.json").read_text())
    assert found["scores"] == pytest.approx({"cat": 207.55, "turtle": 34.4, "owl": 460.3})
    assert found["digits, test"] > 0.95
