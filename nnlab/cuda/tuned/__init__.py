"""Tuned values of kernels' own macros, which ``nnlab tune`` measures and the launch gate reads.

A table is a JSON file for one device. Those of the package lie in this folder; the user's own, in the cache folder, go
before them. A table is read once a process, so that the values are a function of the device and the sizes alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nnlab import cache as cache_folder
from nnlab.backend import Backend, Device
from nnlab.cuda import sources
from nnlab.errors import DataError

FORMAT = 1
PACKAGE = Path(__file__).parent

Key = tuple[str, str, tuple[int, ...]]  # name of the kernel, dtype of the data, class of the sizes


def size_class(sizes: Sequence[int]) -> tuple[int, ...]:
    """The powers of two at or above the sizes (0 for 0): problems of one class share an entry."""
    return tuple(1 << (size - 1).bit_length() if size else 0 for size in sizes)


@dataclass(frozen=True)
class Entry:
    """What was found for a kernel, a dtype and a class of sizes.

    Attributes:
        unit: the kernel file.
        kernel, dtype, sizes: for what it holds; ``sizes`` is a class.
        macros: the values to take; none where the body's own choice is as good.
        source: the digest of the kernel file when it was measured.
        measured: what was measured, a record for each problem: the problem, its time with each choice, or why there is
            none; date and versions.
    """

    unit: str
    kernel: str
    dtype: str
    sizes: tuple[int, ...]
    macros: Mapping[str, int]
    source: str
    measured: tuple[Mapping[str, Any], ...] = ()

    @property
    def key(self) -> Key:
        return self.kernel, self.dtype, self.sizes

    @property
    def stale(self) -> bool:
        """Whether the kernel file, or a header of it, is another one now."""
        return self.source != digest(self.unit)


class Table:
    """Values by key, as the gate asks for them."""

    def __init__(self, values: Mapping[Key, Mapping[str, int]]) -> None:
        self.values = values

    def find(self, kernel: str, dtype: Any, sizes: Sequence[int], preferred: Mapping[str, int]) -> Mapping[str, int]:
        """The tuned values of a kernel for data of a dtype and such sizes; the preferred ones where there are none."""
        if not self.values:
            return preferred
        return self.values.get((kernel, dtype.name, size_class(sizes)), preferred)


_tables: dict[Device, Table] = {}


def table(be: Backend) -> Table:
    """The table of a device: what fits the kernel files as they are, the user's own first.

    Raises:
        DataError: a file is damaged.
    """
    found = _tables.get(be.device)
    if found is None:
        name = device_name(be)
        entries = [*load(PACKAGE / file_name(name)), *load(own_file(name))]
        found = _tables[be.device] = Table({entry.key: entry.macros for entry in entries if not entry.stale})
    return found


@contextmanager
def instead(be: Backend, other: Table) -> Iterator[None]:
    """Launches on a device inside the context go by another table."""
    before = table(be)
    _tables[be.device] = other
    try:
        yield
    finally:
        _tables[be.device] = before


def forget() -> None:
    """Read the files anew at the next launch."""
    _tables.clear()
    digest.cache_clear()


def device_name(be: Any) -> str:
    """The card's name, ``"emulated"`` for kernels that the CPU runs: a table holds for all devices of that name."""
    return str(be.device) if be.host_memory else str(be.name())


def file_name(device: str) -> str:
    """E.g. ``nvidia-h200.json``."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-") + ".json"


def own_file(device: str) -> Path:
    """The user's own table of a device. It need not exist."""
    return cache_folder.folder() / "tuned" / file_name(device)


def overview() -> list[dict[str, Any]]:
    """Of each table that there is, the package's before the user's: its file, how many entries it has and how many of
    them are for other kernel sources, or why it cannot be read."""
    found: list[dict[str, Any]] = []
    for path in [path for folder in (PACKAGE, own_file("").parent) for path in sorted(folder.glob("*.json"))]:
        try:
            entries = load(path)
        except DataError as error:
            found.append({"file": str(path), "why": str(error)})
        else:
            found.append({"file": str(path), "entries": len(entries), "stale": sum(entry.stale for entry in entries)})
    return found


def overview_text(one: Mapping[str, Any]) -> str:
    """What a table holds, as people read it."""
    if "why" in one:
        return str(one["why"])
    stale = f", {one['stale']} not used: the kernel sources have changed since" if one["stale"] else ""
    return f"{one['file']}: {one['entries']} entries{stale}"


@cache
def digest(unit: str) -> str:
    """SHA-256 of a kernel file with its headers; empty if there is no such file."""
    return sources.digest(sources.source(unit)) if unit in sources.units() else ""


def load(path: Path) -> list[Entry]:
    """The entries of a file, those for other sources too; none if there is no such file.

    Raises:
        DataError: it is not a table.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    try:
        found = json.loads(text)
        if found["format"] != FORMAT:
            raise DataError(f"[tune] {path} has format {found['format']}, this nnlab reads format {FORMAT}; remove it")
        return [_entry(**entry) for entry in found["entries"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"[tune] {path} is not a table of nnlab tune ({reason}); remove it") from error


def _entry(sizes: Sequence[int], macros: Mapping[str, int], measured: Sequence[Any], **rest: str) -> Entry:
    values = {str(name): int(value) for name, value in macros.items()}
    return Entry(sizes=tuple(map(int, sizes)), macros=values, measured=tuple(measured), **rest)


def save(path: Path, device: str, entries: Sequence[Entry]) -> None:
    """Write a file in one step."""
    ordered = [asdict(entry) for entry in sorted(entries, key=lambda entry: entry.key)]
    text = json.dumps({"format": FORMAT, "device": device, "entries": ordered}, indent=1)
    cache_folder.write(path, text.encode() + b"\n")
