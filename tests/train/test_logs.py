"""The log files."""

from __future__ import annotations

import csv
from pathlib import Path

from nnlab.train.logs import FIELDS, RunLog, read_log


def _row(epoch: int) -> dict[str, object]:
    return {"epoch": epoch, "train_loss": 1 / (3 * epoch), "train_accuracy": None, "val_loss": 2.0, "val_accuracy": 0.5,
            "lr": 0.05, "examples_per_second": 123.456, "seconds": 1.0, "step": 10 * epoch}  # fmt: skip


def test_append_and_rewrite(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.rewrite([])
    for epoch in (1, 2, 3):
        log.append(_row(epoch))
    assert read_log(tmp_path) == [_row(1), _row(2), _row(3)]  # every digit
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == FIELDS
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert rows[0]["train_loss"] == "0.3333333" and rows[0]["train_accuracy"] == ""
    RunLog(tmp_path).rewrite([_row(1)])
    assert read_log(tmp_path) == [_row(1)]
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.csv", "log.jsonl"]
