"""The example of perceptron learning runs, and its own assertions hold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.examples.conftest import Run


def test_it_runs(example: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("perceptron")["main"](["--out", str(tmp_path)])
    assert (tmp_path / "perceptron.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "numbers.json").read_text())
    np.testing.assert_allclose(found["path"], [[1, -0.8], [2, 1.2], [3, -0.8], [3, 0.2]], atol=1e-14)
    assert len(found["races"]) == 45
    assert "(1, -0.8) -> (2, 1.2) -> (3, -0.8) -> (3, 0.2)" in capsys.readouterr().out


def test_it_notices_another_rate_and_a_correction_of_what_is_right(example: Run) -> None:
    names = example("perceptron")
    nnlab, learn, hebbian = names["nnlab"], names["learn"], names["hebbian"]
    x, t = names["clouds"]()
    padded = names["with_bias"](nnlab.tensor(x))
    start = nnlab.tensor(np.array(names["START"]))
    worked = learn(nnlab.tensor(names["X"]), nnlab.tensor(names["D"]), start)
    hebb = learn(padded, nnlab.tensor(t), rule=hebbian, seed=0)
    endless = learn(padded[:2], nnlab.tensor([1, 0]), rule=lambda u, d: u * 0 + 1e-9, max_passes=2)
    names["check"](worked, [], hebb, endless)
    other = learn(nnlab.tensor(names["X"]), nnlab.tensor(names["D"]), start, lr=0.9)
    with pytest.raises(AssertionError):
        names["check"](other, [], hebb, endless)
    always = learn(padded, nnlab.tensor(t), rule=lambda u, t: t, seed=0, max_passes=2)
    with pytest.raises(AssertionError):
        names["check"](worked, [], always, endless)
    with pytest.raises(AssertionError):
        names["check"](worked, [{"corrections": 8, "limit": 7.9}], hebb, endless)
