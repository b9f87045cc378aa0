"""The example of convolutions runs, and its own assertions hold and can fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.conftest import Run


def test_it_runs(example: Run, tmp_path: Path) -> None:
    names = example("convolutions")
    names["main"](["--out", str(tmp_path / "run")])
    found = json.loads((tmp_path / "run" / "numbers.json").read_text())
    assert found["depthwise 3 × 3 and 1 × 1"] == {"parameters": 4800, "products": 14_651_392}
    assert (tmp_path / "run" / "convolutions.png").read_bytes().startswith(b"\x89PNG")
    names["STACKS"]["3 × 3 atrous, rates 1, 2, 4"][2] = (3, 1, 3)
    with pytest.raises(AssertionError, match="rates"):
        names["check"](found)
