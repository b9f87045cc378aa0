"""The example of gradients through time runs, and its own assertions hold and can fail."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.examples.conftest import Run


def test_it_runs(example: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("gradients_through_time")["main"](["--out", str(tmp_path)])
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["far"]["RNN at rest, radius 1.1"] == pytest.approx([1.1**100] * 2)
    assert numbers["far"]["GRU, update bias 5"][1] == pytest.approx((1 / (1 + math.exp(-5))) ** 100)
    assert [len(ends) for ends in numbers["last losses"].values()] == [5, 5]
    assert (tmp_path / "gradients.png").read_bytes().startswith(b"\x89PNG")
    assert "RNN driven, radius 2.0" in capsys.readouterr().out


def test_its_assertions_can_fail(example: Run) -> None:
    """A radius or a gate that is off by a thousandth, a driven network above its bound, a limit that limits nothing."""
    names = example("gradients_through_time")
    norms, rnn_cell, gated_cell, x = names["norms"], names["rnn_cell"], names["gated_cell"], names["noise"]()
    found = names["measure"]()
    wrong = {
        "orthogonal": {1.1: norms(rnn_cell(1.1011), 0 * x)},
        "any matrix": {0.9: norms(rnn_cell(0.9009, orthogonal=False), 0 * x)},
        "driven": {1.5: norms(rnn_cell(1.5), 0 * x) * 1.001},
        "gates alone": {"GRU, update bias 5": norms(gated_cell("gru", 5.005, scale=0), x)},
    }
    for part, curve in wrong.items():
        with pytest.raises(AssertionError):
            names["check"]({**found, part: {**found[part], **curve}})
    plain, loose, clipped = (names["train"](0, clip) for clip in (math.inf, 1000.0, 1.0))
    names["check_training"]({"plain": [plain], "clipped": [clipped]})
    with pytest.raises(AssertionError):
        names["check_training"]({"plain": [plain], "clipped": [loose]})
