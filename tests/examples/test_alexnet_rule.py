"""The example of AlexNet's rule on the digits runs, and its own assertions hold and can fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.conftest import Run


def test_it_runs(example: Run, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn (extra demo)")
    names = example("alexnet_rule")
    names["main"](["--out", str(tmp_path / "run")])
    numbers = json.loads((tmp_path / "run" / "numbers.json").read_text())
    history, apart = numbers["history"], numbers["apart"]
    assert history[-1]["error"] < history[0]["error"] / 10
    assert (tmp_path / "run" / "training.png").read_bytes().startswith(b"\x89PNG")
    names["check"](history, apart)
    late = [dict(line) for line in history]
    late[names["EPOCHS"] - 1]["rate"] *= 10
    with pytest.raises(AssertionError):
        names["check"](late, apart)
    with pytest.raises(AssertionError):
        names["check"](history, apart | {"SGD and keep_velocity": apart["SGD"]})
