"""The memory that a call takes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from nnlab.bench import report, resident
from nnlab.bench.separate import rows
from nnlab.bench.training import TRAINING

MB = 1 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell")
def test_growth_is_what_a_call_holds_at_once() -> None:
    kept: list[np.ndarray] = []

    def call() -> int:
        kept.append(np.ones(20 * MB, np.uint8))
        np.ones(100 * MB, np.uint8)
        return len(kept)

    np.ones(300 * MB, np.uint8)  # an earlier peak does not count
    result, grown = resident.growth(call, times=3)
    assert result == 3
    assert grown is not None and 155 * MB < grown < 175 * MB  # three of 20, and 100


def test_none_where_the_system_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "_SELF", tmp_path)
    assert resident.growth(lambda: 5) == (5, None)


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell")
def test_a_step_in_a_process_of_its_own_says_what_it_takes() -> None:
    (row,) = rows([TRAINING["lenet5"](64)], "float32", peer=False, budget=0.0, check=False)
    assert MB < row.readings["peak_bytes"]["nnlab"] < 60 * MB  # activations alone are 5 MB


def test_the_report_shows_it() -> None:
    from nnlab.bench.measure import Row
    from nnlab.bench.record import Record

    row = Row("training", "step", "vgg16", "training", "4", "float32", 0, 0, None)
    row.readings["peak_bytes"] = {"nnlab": 1_425_000_000, "torch": 1_577_000_000}
    (line,) = report.remarks(Record({}, {}, [row]))
    assert line.endswith("memory a step takes: nnlab 1425 MB, torch 1577 MB")
