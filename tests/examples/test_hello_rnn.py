"""The example of the four letters runs: the picture's numbers, and "ello" from "h"."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.examples.conftest import Run


def test_it_runs(example: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = example("hello_rnn")
    names["main"](["--out", str(tmp_path)])
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    # By hand: the picture's scores, and the right letters e, l, l, o of the vocabulary h, e, l, o.
    powers = np.exp(names["OUTPUT"])
    table = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(numbers["before"], table, rtol=1e-9)
    assert numbers["losses"][0] == pytest.approx(-np.log([table[0, 1], table[1, 2], table[2, 2], table[3, 3]]).mean())
    assert numbers["losses"] == sorted(numbers["losses"], reverse=True)
    assert min(numbers["after"][step][letter] for step, letter in enumerate((1, 2, 2, 3))) > 0.9
    assert (tmp_path / "probabilities.png").read_bytes().startswith(b"\x89PNG")
    text = capsys.readouterr().out
    assert "at first it says 'oeol'" in text
    assert "it spells 'ello' after" in text


def test_its_assertions_can_fail(example: Run) -> None:
    names = example("hello_rnn")
    model = names["of_the_picture"]()
    names["check"](model)
    with names["nnlab"].no_grad():
        model.rnn.weight_hh_l0.mul_(0.9)
    with pytest.raises(AssertionError):
        names["check"](model)
