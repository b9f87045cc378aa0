"""The example of first weights runs, and its own assertions hold and can fail."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.examples.conftest import Run


def test_it_runs(example: Run, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn (extra demo)")
    names = example("initialisation")
    names["main"](["--out", str(tmp_path / "run")])
    numbers = json.loads((tmp_path / "run" / "numbers.json").read_text())
    found, losses = numbers["signals"], numbers["losses"]
    for picture in ("signals.png", "training.png"):
        assert (tmp_path / "run" / picture).read_bytes().startswith(b"\x89PNG")
    names["check"](found, losses)
    # Weights that are a seventh too large are noticed: the mean square grows by 30 % a layer.
    he = found["ReLU"]["He, 2 / n_in"]
    he["signal"] = (np.array(he["signal"]) * 1.3 ** np.arange(1, 21)).tolist()
    with pytest.raises(AssertionError, match="He"):
        names["check"](found, losses)
