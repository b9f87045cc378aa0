"""The example of activations and dead units runs, and its own assertions hold and can fail."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.examples.conftest import Run


def test_it_runs(example: Run, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn (extra demo)")
    names = example("activations")
    names["main"](["--out", str(tmp_path / "run")])
    runs = json.loads((tmp_path / "run" / "numbers.json").read_text())
    for picture in ("functions.png", "dead.png"):
        assert (tmp_path / "run" / picture).read_bytes().startswith(b"\x89PNG")
    names["check"](runs)
    names["FUNCTIONS"]["ELU"] = lambda x: names["F"].elu(x, 1.01)
    with pytest.raises(AssertionError, match="ELU"):
        names["check"](runs)


def test_a_dead_unit_that_comes_back_in_the_first_layer_is_noticed(example: Run) -> None:
    names = example("activations")
    alive = {"dead": np.zeros((21, 3)).tolist(), "error": 0.01}
    relu = {"dead": [[0.5, 0.1, 0.1]] * 20 + [[0.4, 0.1, 0.1]], "error": 0.5}
    runs = dict.fromkeys(names["TRAINED"], alive) | {"ReLU": relu}
    with pytest.raises(AssertionError):
        names["check"](runs)
    relu["dead"][-1] = [0.5, 0.1, 0.1]
    names["check"](runs)
