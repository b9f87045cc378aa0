"""Verdicts kept in a file, a line each, so that a run of hours can be stopped and gone on with; and record.json, what
became of all mutants of a kernel file."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tools.mutation.operators import Mutant

NOT_COMPILED, SAME_CODE, SURVIVED = "does not compile", "same machine code", "survived"
APART = {NOT_COMPILED: "do not compile", SAME_CODE: "come out the same"}
RECORD = Path(__file__).parent / "record.json"


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


def write_record(kernels: Path, every: Iterable[Mutant], verdicts: dict[Mutant, str], path: Path = RECORD) -> None:
    """Note the files all of whose mutants have a verdict; what is noted of others stays."""
    found = read_record(path)
    files: dict[str, list[Mutant]] = {}
    for mutant in every:
        files.setdefault(mutant.file, []).append(mutant)
    for file, mutants in files.items():
        if all(mutant in verdicts for mutant in mutants):
            counts = Counter(verdicts[mutant] for mutant in mutants)
            found[file] = {"sources": _digest(kernels, file), "verdicts": dict(sorted(counts.items()))}
    path.write_text(json.dumps(dict(sorted(found.items())), indent=1) + "\n", encoding="utf-8")


def read_record(path: Path = RECORD) -> dict[str, dict[str, Any]]:
    """By file: ``sources``, the digest of its text then, and ``verdicts``, how many mutants had each."""
    found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def current(kernels: Path, path: Path = RECORD) -> set[str]:
    """The files of which all mutants have a verdict, and which have not changed since."""
    return {file for file, one in read_record(path).items() if one["sources"] == _digest(kernels, file)}


def table(kernels: Path, path: Path = RECORD) -> list[str]:
    """The record in Markdown."""
    lines = ["| file | killed | of | noticed by | not counted |", "|---|---:|---:|---|---|"]
    killed = counted = 0
    fresh = current(kernels, path)
    for file, one in read_record(path).items():
        found = dict(one["verdicts"])
        alive = found.pop(SURVIVED, 0)
        apart = ", ".join(f"{found.pop(name)} {text}" for name, text in APART.items() if name in found)
        by = ", ".join(f"{name} {n}" for name, n in sorted(found.items(), key=lambda each: -each[1]))
        dead = sum(found.values())
        old = "" if file in fresh else " (changed since)"
        lines.append(f"| {file}{old} | {dead} | {dead + alive} | {by} | {apart} |")
        killed, counted = killed + dead, counted + dead + alive
    return [*lines, f"| all | {killed} | {counted} | {killed / max(counted, 1):.1%} | |"]
