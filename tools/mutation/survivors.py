"""Mutants that no test can notice, each with the reason (survivors.toml)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from tools.mutation.operators import Mutant

FILE = Path(__file__).parent / "survivors.toml"


@dataclass(frozen=True)
class Explained:
    """Lines that a change may turn into others without any effect."""

    file: str
    operator: str
    line: str
    changes: tuple[str, ...]
    why: str

    def covers(self, mutant: Mutant) -> bool:
        return (mutant.file, mutant.operator, mutant.old_line) == (self.file, self.operator, self.line) and (
            mutant.new_line in self.changes
        )


def read(path: Path = FILE) -> list[Explained]:
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("survivor", [])
    return [Explained(**{**entry, "changes": tuple(entry["changes"])}) for entry in entries]
