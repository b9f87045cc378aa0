"""Verdicts kept in a file, a line each, so that a run of hours can be stopped and gone on with."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from tools.mutation.operators import Mutant


def _digest(kernels: Path, file: str) -> str:
    return hashlib.sha256((kernels / file).read_bytes()).hexdigest()[:16]


def keep(path: Path, kernels: Path, mutant: Mutant, verdict: str) -> None:
    line = {**asdict(mutant), "sources": _digest(kernels, mutant.file), "verdict": verdict}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read(path: Path, kernels: Path) -> dict[Mutant, str]:
    """The verdicts on mutants of files that have not changed since."""
    found = {}
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        line = json.loads(text)
        digest, verdict = line.pop("sources"), line.pop("verdict")
        mutant = Mutant(**line)
        if digest == _digest(kernels, mutant.file):
            found[mutant] = verdict
    return found
