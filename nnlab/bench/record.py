"""Files of measured rows: what was measured, on what, from which sources."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import nnlab
from nnlab.backend.threads import blas_name, get_num_threads
from nnlab.bench.ceilings import Ceilings
from nnlab.bench.measure import Row, Side
from nnlab.bench.timing import Timing
from nnlab.cuda import sources
from nnlab.errors import ArgumentError, DataError

FORMAT = 1


@dataclass(frozen=True)
class Record:
    """Rows, and all that says for what they hold."""

    about: dict[str, Any]
    ceilings: dict[str, Ceilings]  # by dtype
    rows: list[Row]

    def add(self, row: Row) -> None:
        """A new row, or another round of one that is there."""
        for i, old in enumerate(self.rows):
            if old.key == row.key:
                self.rows[i] = old.merged(row)
                return
        self.rows.append(row)


def about(be: Any, peer_version: str | None) -> dict[str, Any]:
    """The machine, the versions, the commit and the hashes of the kernel sources."""
    versions = {"nnlab": nnlab.__version__, "python": platform.python_version(), "numpy": np.__version__}
    if peer_version is not None:
        versions["torch"] = peer_version
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M"),
        "device": device_name(be),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": get_num_threads(),
        "blas": blas_name(),
        "versions": versions | ({} if be.host_memory else be.versions()),
        "commit": _commit(),
        "kernels_run": be.device.type != "cpu",
        "kernels": kernel_hashes(),
    }


def kernel_hashes() -> dict[str, str]:
    """Of each kernel file with its headers, the first 8 digits of its SHA-256."""
    return {unit: sources.digest(sources.source(unit))[:8] for unit in sources.units()}


def device_name(be: Any) -> str:
    """The processor's or the card's name."""
    if not be.host_memory:
        return str(be.name())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = models[0] if models else platform.processor() or platform.machine()
    kernels = ", kernels run by the CPU" if str(be.device) == "emulated" else ""
    return f"{name}, {cores} core{'' if cores == 1 else 's'}{kernels}"


def _commit() -> str | None:
    """The commit of the checkout that nnlab runs from, with a mark if files differ from it."""
    command = ["git", "-C", str(Path(nnlab.__file__).parent), "describe", "--always", "--dirty", "--abbrev=8"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def save(path: Path, record: Record) -> None:
    """Write a file; a file of that name is replaced only by a whole one."""
    text = json.dumps(
        {
            "format": FORMAT,
            "about": record.about,
            "ceilings": {dtype: each.as_json() for dtype, each in record.ceilings.items()},
            "rows": [row.as_json() for row in record.rows],
        },
        indent=1,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)


def load(path: Path) -> Record:
    """Read a file.

    Raises:
        DataError: it is not there, or not such a file.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise DataError(f"[bench] {path} has format {found['format']}, this nnlab reads format {FORMAT}")
        return Record(
            found["about"],
            {dtype: Ceilings(**each) for dtype, each in found["ceilings"].items()},
            [row(each) for each in found["rows"]],
        )
    except FileNotFoundError:
        raise DataError(f"[bench] {path} does not exist") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"[bench] {path} is not a record of nnlab bench ({type(error).__name__}: {error})") from error


def merge(records: Sequence[Record]) -> Record:
    """One record of several parts of a measurement; of a row that several have, the last one that timed nnlab.

    Raises:
        ArgumentError: they are of different devices, commits or versions.
    """
    first = records[0].about
    for name in ("device", "commit", "versions", "kernels"):
        for other in records[1:]:
            if other.about.get(name) != first.get(name):
                raise ArgumentError(
                    f"[bench] the records differ in {name!r}: {first.get(name)}, {other.about.get(name)}"
                )
    rows: dict[tuple[str, ...], Row] = {}
    ceilings: dict[str, Ceilings] = {}
    for each in records:
        for found in each.rows:
            if found.key not in rows or found.ours is not None:
                rows[found.key] = found
        for dtype, roof in each.ceilings.items():
            best = ceilings.get(dtype, roof)
            ceilings[dtype] = replace(
                roof,
                bytes_per_second=max(best.bytes_per_second, roof.bytes_per_second),
                flops_per_second=max(best.flops_per_second, roof.flops_per_second),
            )
    newest = max(records, key=lambda each: each.about["date"])
    measured = {" ".join((*found.key[:4], found.dtype)) for found in rows.values()}
    missing = dict.fromkeys(name for each in records for name in each.about.get("not_measured", []))
    left = {"not_measured": [name for name in missing if name not in measured]}
    about = {name: value for name, value in newest.about.items() if name not in ("not_measured", "part")}
    return Record(about | (left if left["not_measured"] else {}), ceilings, list(rows.values()))


def row(found: dict[str, Any]) -> Row:
    """A row as :meth:`Row.as_json` wrote it."""
    ours = found.pop("ours")
    peers, others = ({name: _side(side) for name, side in found.pop(key, {}).items()} for key in ("peers", "others"))
    return Row(ours=None if ours is None else _side(ours), peers=peers, others=others, **found)


def _side(found: dict[str, Any]) -> Side:
    error, rounds = found.pop("error"), found.pop("rounds", [found["median"]])
    return Side(Timing(**found, rounds=tuple(rounds)), error)
