"""What the examples share: the run folder and its two kinds of files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from nnlab import figures


def folder(name: str, doc: str | None, arguments: list[str] | None) -> Path:
    """The folder of ``--out``, by default ``runs/<name>``."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs") / name, help="folder for pictures and numbers")
    out: Path = parser.parse_args(arguments).out
    return out


def finish(out: Path, pictures: dict[str, Any], numbers: Any) -> None:
    """Write ``<name>.png`` for each figure and ``numbers.json``, and say where."""
    for name, figure in pictures.items():
        figures.save(figure, out / f"{name}.png")
    out.mkdir(parents=True, exist_ok=True)
    (out / "numbers.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    print(f"pictures and numbers in {out}")
