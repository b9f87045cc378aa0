"""The example of image filters runs, and its own assertions hold and can fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.conftest import Run


def test_it_runs(example: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn", reason="the photograph comes with scikit-learn (extra demo)")
    names = example("image_filters")
    names["main"](["--out", str(tmp_path / "run")])
    differences = json.loads((tmp_path / "run" / "numbers.json").read_text())
    assert (tmp_path / "run" / "filters.png").read_bytes().startswith(b"\x89PNG")
    assert "1.000 at (98, 224)" in capsys.readouterr().out
    found = names["results"](names["photograph"]())
    with pytest.raises(AssertionError, match="by Fourier"):
        names["check"](found, differences | {"15 x 15 by Fourier transforms": 1e-9})
    found["likeness to the piece"] = found["likeness to the piece"][1:]
    with pytest.raises(AssertionError):
        names["check"](found, differences)
