"""Write docs/performance.md from the newest records: ``make docs``."""

from __future__ import annotations

from pathlib import Path

from nnlab.bench.page import page

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "docs" / "performance.md"


def text() -> str:
    """The whole file."""
    return page(ROOT / "benchmarks" / "records")


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
