"""How a long transfer is shown: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

Progress = Callable[[int, int | None], None]

_SECONDS_BETWEEN_LINES = 5.0


@contextlib.contextmanager
def default_progress(name: str) -> Iterator[Progress]:
    """A function of (bytes so far, bytes in all or None) that shows them, on standard error."""
    if sys.stderr.isatty():
        with _bar(name) as report:
            yield report
    else:
        yield _lines(name)


@contextlib.contextmanager
def _bar(name: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(name, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _lines(name: str) -> Progress:
    last = 0.0

    def report(done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if done != total and now - last < _SECONDS_BETWEEN_LINES:
            return
        last = now
        share = "" if not total else f" of {total / 1e6:.1f} MB ({100 * done // total} %)"
        sys.stderr.write(f"{name}: {done / 1e6:.1f} MB{share}\n")
        sys.stderr.flush()

    return report
