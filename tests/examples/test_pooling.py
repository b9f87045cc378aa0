"""The example of pooling and unpooling runs, and its own assertions hold and can fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.conftest import Run


def test_it_runs(example: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn", reason="the photograph comes with scikit-learn (extra demo)")
    names = example("pooling")
    names["main"](["--out", str(tmp_path / "run")])
    changed = json.loads((tmp_path / "run" / "numbers.json").read_text())
    assert (tmp_path / "run" / "pooling.png").read_bytes().startswith(b"\x89PNG")
    assert "max, overlapping" in capsys.readouterr().out
    x = names["features"](names["photograph"]())
    names["check"](x, changed)
    with pytest.raises(AssertionError, match="L2"):
        names["check"](x, changed | {"L2": [1.1] * 8})
    with pytest.raises(AssertionError):
        names["check"](-x, changed)  # the zeros of a bed of nails then win
