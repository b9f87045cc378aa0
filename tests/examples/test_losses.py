"""The example of losses runs, and its own assertions hold and can fail."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from tests.examples.conftest import Run


def test_it_runs(example: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = example("losses")
    names["main"](["--out", str(tmp_path / "run")])
    numbers = json.loads((tmp_path / "run" / "numbers.json").read_text())
    for picture in ("slow_start.png", "pixels.png"):
        assert (tmp_path / "run" / picture).read_bytes().startswith(b"\x89PNG")
    assert "8.1% are lines" in capsys.readouterr().out
    outputs, found = numbers["outputs"], numbers["pixels"]
    names["check"](outputs, found)
    swapped = {"squared error": outputs["cross-entropy"], "cross-entropy": outputs["squared error"]}
    same = copy.deepcopy(found)
    same["both classes alike"] = same["each pixel alike"]
    for wrong in ((swapped, found), (outputs, same)):
        with pytest.raises(AssertionError):
            names["check"](*wrong)
