"""The example of full batch, mini-batch and online gradient descent runs, and its own assertions hold and can fail."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.examples.conftest import Run


def test_it_runs(example: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("gradient_descent")["main"](["--out", str(tmp_path / "run")])
    numbers = json.loads((tmp_path / "run" / "numbers.json").read_text())
    assert numbers["single samples"]["floor"] > 8 * numbers["batches of 10"]["floor"]
    assert (tmp_path / "run" / "descent.png").read_bytes().startswith(b"\x89PNG")
    assert "single samples       4000" in capsys.readouterr().out


def test_its_assertions_can_fail(example: Run) -> None:
    """A cloud half as wide as it should be is noticed. Single samples are drawn from where they should end."""
    names = example("gradient_descent")
    x, d = names["problem"]()
    best = names["least_squares"](x, d)
    walks = {name: names["walk"](name, x, d) for name in names["SIZES"] if name != "single samples"}
    rest = np.random.default_rng(0).multivariate_normal([0, 0], names["cloud"](x, d, 1), 4001)
    names["check"](walks | {"single samples": best + rest}, best + rest / 10, x, d)
    for wrong in ((best + rest / 2, best + rest / 10), (best + rest, best + rest)):
        with pytest.raises(AssertionError):
            names["check"](walks | {"single samples": wrong[0]}, wrong[1], x, d)
