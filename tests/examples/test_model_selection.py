"""The example of choosing a model runs, its own assertions hold, and fail where a result is another one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.examples.conftest import Run

pytest.importorskip("sklearn")


def test_it_runs(example: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main = example("model_selection")["main"]
    seen: list[Any] = []
    check = main.__globals__["check"]
    main.__globals__["check"] = lambda *found: seen.extend(found)
    main(["--out", str(tmp_path)])
    assert (tmp_path / "model_selection.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "numbers.json").read_text())
    assert found["labels"]["random"]["training"] == 1 and found["labels"]["random"]["test"] < 0.16
    assert np.argmin(found["errors"]["training"]) == 12 and np.argmin(found["errors"]["5-fold"]) < 8
    assert "random labels: 100.0% learnt" in capsys.readouterr().out

    check(*seen)
    errors, grid, paths, (history, best), long, labels = seen
    random = labels["random"]
    for changed in (
        ({**errors, "leave-one-out": errors["leave-one-out"] * 1.001}, *seen[1:]),
        ({**errors, "training": errors["5-fold"]}, *seen[1:]),
        (errors, grid[::-1], *seen[2:]),
        (errors, grid, {**paths, "maximum a posteriori": paths["maximum likelihood"]}, *seen[3:]),
        (errors, grid, paths, (history[:-1], best), long, labels),
        (errors, grid, paths, (history, best), long, {**labels, "random": {**random, "training": [0.99]}}),
        (errors, grid, paths, (history, best), long, {**labels, "random": {**random, "test": 0.2}}),
    ):
        with pytest.raises(AssertionError):
            check(*changed)
