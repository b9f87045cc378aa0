"""The run's log, one row an epoch, as CSV and as JSON lines."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FIELDS = (
    "epoch",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "lr",
    "examples_per_second",
    "seconds",
    "step",
)
Row = dict[str, Any]


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.7g}" if isinstance(value, float) else str(value)


class RunLog:
    """``log.csv`` (seven digits) and ``log.jsonl`` (every digit).

    A row is appended and synced at the end of its epoch. At the start of a run, and when it resumes, both files are
    rewritten from the checkpoint's history, so that they never hold an epoch that the weights have not seen.
    """

    def __init__(self, folder: Path) -> None:
        self.csv, self.jsonl = folder / "log.csv", folder / "log.jsonl"

    def rewrite(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Replace both files by these rows, each in one rename."""
        rows = list(rows)
        for path in (self.csv, self.jsonl):
            aside = path.with_name(path.name + ".tmp")
            with aside.open("w", encoding="utf-8", newline="") as file:
                self._write(file, path, rows, header=True)
            os.replace(aside, path)

    def append(self, row: Mapping[str, Any]) -> None:
        for path in (self.csv, self.jsonl):
            with path.open("a", encoding="utf-8", newline="") as file:
                self._write(file, path, [row], header=False)

    def _write(self, file: Any, path: Path, rows: Iterable[Mapping[str, Any]], *, header: bool) -> None:
        if path == self.csv:
            writer = csv.writer(file, lineterminator="\n")
            if header:
                writer.writerow(FIELDS)
            writer.writerows([_cell(row.get(name)) for name in FIELDS] for row in rows)
        else:
            file.writelines(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        file.flush()
        os.fsync(file.fileno())


def read_log(folder: Path) -> list[Row]:
    """The rows of a run's ``log.jsonl``."""
    text = (folder / "log.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
