"""The example of Blum and Li's construction runs, and its own assertions hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.conftest import Run


def test_it_runs(example: Run, tmp_path: Path) -> None:
    example("blum_li")["main"](["--out", str(tmp_path)])
    assert (tmp_path / "blum_li.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "numbers.json").read_text())
    assert [row["neurons"] for row in found["wave"]] == [33, 97, 573, 2113]
    for row in found["wave"]:
        assert row["largest error"] <= row["asked for"]
    rows = {row.pop("asked for"): row for row in found["wave"]}
    check = example("blum_li")["check"]
    check(rows, found["cliff"])
    with pytest.raises(AssertionError):
        check({**rows, 0.2: {**rows[0.2], "largest error": 0.201}}, found["cliff"])
