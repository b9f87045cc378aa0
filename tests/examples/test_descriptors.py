"""The example of descriptors runs, and its own assertions hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.conftest import Run


def test_it_runs(example: Run, tmp_path: Path) -> None:
    example("descriptors")["main"](["--out", str(tmp_path)])
    assert (tmp_path / "descriptors.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "numbers.json").read_text())
    assert found["mugs, test"] > 0.93 and found["beaches, test"] > 0.85
    check, model = example("descriptors")["check"], example("descriptors")["nn"].Linear(24, 1)
    for name, value in (("mugs, test", 0.5), ("glasses called mugs", 0.2), ("beaches, train", 1.0)):
        with pytest.raises(AssertionError):
            check({**found, name: value}, model)
