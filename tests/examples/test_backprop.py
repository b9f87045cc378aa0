"""The example of back-propagation runs, and its own assertions hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.conftest import Run


def test_it_runs(example: Run, tmp_path: Path) -> None:
    example("backprop")["main"](["--out", str(tmp_path)])
    assert (tmp_path / "backprop.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "numbers.json").read_text())
    assert max(found["differences"]) < 1e-9
    assert found["right"]["XOR, two layers"] == 1 > found["right"]["XOR, one layer"]


def test_it_notices_a_wrong_layer(example: Run) -> None:
    names = example("backprop")
    found, automatic = names["differences"]()
    shares = {"XOR, two layers": 1.0, "rings, three layers": 1.0}
    errors = {"XOR, one layer": [0.25], "XOR, two layers": [0.01]}
    names["check"](found, automatic, shares, errors)
    exact = names["backprop"].gradients
    try:
        # The second layer's gradient is off by a millionth.
        names["backprop"].gradients = lambda *a: [g * (1 + 1e-6 * (i == 1)) for i, g in enumerate(exact(*a))]
        wrong = names["differences"]()
    finally:
        names["backprop"].gradients = exact
    with pytest.raises(AssertionError):
        names["check"](*wrong, shares, errors)
