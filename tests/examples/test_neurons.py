"""The example of neurons as gates runs, and its own assertions hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.conftest import Run


def test_it_runs(example: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("neurons")["main"](["--out", str(tmp_path)])
    assert (tmp_path / "neurons.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "numbers.json").read_text())
    assert found["XOR, two layers"] == [0, 1, 1, 0]
    assert "has 3 of the 4 rows of XOR right" in capsys.readouterr().out
    check = example("neurons")["check"]
    tables = {name: found[name] for name in ("AND", "OR", "XOR, two layers")}
    check(tables, 3)
    with pytest.raises(AssertionError):
        check(tables, 4)
    with pytest.raises(AssertionError):
        check({**tables, "AND": tables["OR"]}, 3)
