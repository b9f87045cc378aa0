"""The example of ensembles and bagging runs, and its own assertions hold and can fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.conftest import Run


def test_it_runs(example: Run, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn (extra demo)")
    names = example("ensembles")
    names["main"](["--out", str(tmp_path / "run")])
    results = json.loads((tmp_path / "run" / "numbers.json").read_text())
    assert (tmp_path / "run" / "ensembles.png").read_bytes().startswith(b"\x89PNG")
    fresh = results.pop("left out")
    names["check"](results, fresh)
    results["bagging"]["spread"][3] *= 1.01
    with pytest.raises(AssertionError, match="bagging"):
        names["check"](results, fresh)
