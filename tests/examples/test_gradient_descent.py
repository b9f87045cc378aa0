"""The example of full batch, mini-batch and online gradient descent runs, and its own assertions hold and can fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.conftest import Run


def test_it_runs(example: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("gradient_descent")["main"](["--out", str(tmp_path / "run")])
    numbers = json.loads((tmp_path / "run" / "numbers.json").read_text())
    assert numbers["single samples"]["floor"] > 8 * numbers["batches of 10"]["floor"]
    assert (tmp_path / "run" / "descent.png").read_bytes().startswith(b"\x89PNG")
    assert "single samples       4000" in capsys.readouterr().out


def test_its_assertions_can_fail(example: Run) -> None:
    """A cloud half as wide as it should be is noticed."""
    names = example("gradient_descent")
    x, d = names["problem"]()
    walks = {name: names["walk"](name, x, d) for name in names["SIZES"]}
    decayed = names["walk"]("single samples", x, d, decay=True)
    names["check"](walks, decayed, x, d)
    best = names["least_squares"](x, d)
    walks["single samples"] = best + (walks["single samples"] - best) / 2
    with pytest.raises(AssertionError, match="single samples"):
        names["check"](walks, decayed, x, d)
