"""The process that keeps the time: it asks a worker for row after row, and starts a new one where one is lost."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Protocol

from nnlab.bench import measure, record
from nnlab.bench.ceilings import Ceilings
from nnlab.bench.measure import Row
from nnlab.bench.record import Record
from tools.gpu_bench.plan import Item

ROOT = Path(__file__).resolve().parent.parent.parent
START_LIMIT, ROW_LIMIT, STEP_LIMIT = 180.0, 60.0, 180.0  # seconds without an answer after which a worker is lost
LEAST, MOST = 0.01, 0.5  # seconds of a side
SIDES = 5  # a row's, roughly
REPEATING = 0.4  # the share of a row's time that goes into its timed loops; the rest prepares and checks

# A row that loses its worker is tried again with less.
ATTEMPTS = (
    {"ours": True, "compiled": True},
    {"ours": True, "compiled": False},
    {"ours": False, "compiled": False},
)
PEERS_ONLY = len(ATTEMPTS) - 1


class Lost(Exception):
    """A worker ended, or did not answer in time."""


class Asked(Protocol):
    """What the session needs of a worker."""

    def ask(self, request: dict[str, Any], limit: float) -> Iterator[dict[str, Any]]:
        """The answers, each within the limit of seconds; :class:`Lost` if one does not come."""

    def stop(self) -> None: ...


class Worker:
    """A process that answers, see tools/gpu_bench/worker.py.

    Args:
        arguments: for Python.
        log: file that gets what it prints.
    """

    def __init__(self, arguments: list[str], log: Path) -> None:
        command = [sys.executable, *arguments]
        self._log = log
        with log.open("a", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                start_new_session=True,
            )  # fmt: skip
        self._answers: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()

    def _read(self, pipe: IO[str]) -> None:
        with pipe:
            for line in pipe:
                self._answers.put(line)
        self._answers.put(None)

    def ask(self, request: dict[str, Any], limit: float) -> Iterator[dict[str, Any]]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise Lost(self._end()) from None
        while True:
            try:
                line = self._answers.get(timeout=limit)
            except queue.Empty:
                raise Lost(f"no answer within {limit:.0f} s") from None
            if line is None:
                raise Lost(self._end())
            answer = json.loads(line)
            if "done" in answer:
                return
            yield answer

    def _end(self) -> str:
        self._process.wait(10)
        last = self._log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
        return f"the process ended with {self._process.returncode}: {last[-300:]}"

    def stop(self) -> None:
        """End it with all processes that it started (compilers)."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # what it was not given any more
                self._process.stdin.close()


@dataclass(frozen=True)
class Task:
    """Passes of an item that are still to be measured, and how."""

    number: int
    item: Item
    parts: tuple[str, ...]
    attempt: int
    note: str = ""  # why the attempt before was lost

    @property
    def names(self) -> list[str]:
        return [name for part, name in zip(self.item.problem.parts, self.item.names) if part in self.parts]


class Session:
    """A measurement of some items within a time.

    Args:
        start: starts a worker.
        items: with their numbers in the plan.
        attempt: what is asked for at first, a number of :data:`ATTEMPTS`.
        clock: seconds.
        deadline: when to end, by that clock.
        save: called with the record after each row.
    """

    def __init__(
        self,
        start: Callable[[], Asked],
        items: list[tuple[int, Item]],
        attempt: int,
        clock: Callable[[], float],
        deadline: float,
        save: Callable[[Record], None],
    ) -> None:
        self._start, self._clock, self._deadline, self._save = start, clock, deadline, save
        self._tasks = deque(Task(n, item, item.problem.parts, self._first(item, attempt)) for n, item in items)
        self._worker: Asked | None = None
        self._roofs: set[str] = set()  # dtypes whose ceilings were asked for
        self.record = Record({}, {}, [])

    @staticmethod
    def _first(item: Item, attempt: int) -> int:
        """Only whole steps are compiled, and only those of large networks gain from the minutes."""
        large = item.problem.op == "training" and item.problem.network in ("alexnet", "vgg16")
        return attempt if large and item.dtype == "float32" else max(attempt, 1)

    @property
    def left(self) -> float:
        return self._deadline - self._clock()

    def run(self) -> Record:
        """Measure until all is measured or the time is over."""
        try:
            self.record.about.update(self._answer({"about": True}, START_LIMIT)["about"])
            while self._tasks and self.left > 0:
                self._do(self._tasks.popleft())
                self._keep()
        finally:
            self._stop()
        self._keep()
        return self.record

    def _keep(self) -> None:
        self.record.about["not_measured"] = [name for task in self._tasks for name in task.names]
        self._save(self.record)

    def _ask(self, request: dict[str, Any], limit: float) -> Iterator[dict[str, Any]]:
        if self._worker is None:
            self._worker = self._start()
            limit = max(limit, START_LIMIT)
        try:
            yield from self._worker.ask(request, min(limit, max(self.left, 0.0)))
        except Lost:
            self._stop()
            raise

    def _answer(self, request: dict[str, Any], limit: float) -> dict[str, Any]:
        (answer,) = self._ask(request, limit)
        return answer

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()
        self._worker = None

    def _do(self, task: Task) -> None:
        dtype, limit = task.item.dtype, STEP_LIMIT if task.item.problem.op == "training" else ROW_LIMIT
        if dtype not in self._roofs:
            self._roofs.add(dtype)
            self._roof(dtype, limit)
        rows = sum(len(each.parts) for each in (task, *self._tasks))
        seconds = min(max(REPEATING * self.left / rows / SIDES, LEAST), MOST)
        request = {"item": task.number, "parts": task.parts, "seconds": seconds, **ATTEMPTS[task.attempt]}
        missing = list(task.parts)
        try:
            for answer in self._ask(request, limit):
                if "spoilt" in answer:
                    self._stop()
                    if missing:
                        self._tasks.appendleft(replace(task, parts=tuple(missing)))
                    return
                row = record.row(answer["row"])
                missing.remove(row.part)
                self._take(row, task)
                self._save(self.record)
        except Lost as lost:
            if self.left <= 0:
                self._tasks.appendleft(replace(task, parts=tuple(missing)))
            elif missing:
                self._again(task, missing, str(lost))

    def _roof(self, dtype: str, limit: float) -> None:
        try:
            self.record.ceilings[dtype] = Ceilings(**self._answer({"ceilings": dtype}, limit)["ceilings"])
        except Lost:
            return  # rows without a share of the roofline

    def _take(self, row: Row, task: Task) -> None:
        """Keep a row; one whose failure took its peers along is asked for again, the peers alone."""
        notes = dict(row.notes)
        if task.note:
            notes.setdefault("nnlab" if task.attempt == PEERS_ONLY else "compile", task.note)
        if row.failed and not row.peers and task.attempt < PEERS_ONLY:
            self._tasks.appendleft(replace(task, parts=(row.part,), attempt=PEERS_ONLY, note=notes["nnlab"]))
        else:
            self.record.rows.append(replace(row, notes=notes))

    def _again(self, task: Task, missing: list[str], why: str) -> None:
        """The first pass without an answer lost the worker: try it with less, and the others as before."""
        lost, *others = missing
        if others:
            self._tasks.appendleft(replace(task, parts=tuple(others)))
        if task.attempt < PEERS_ONLY:
            self._tasks.appendleft(replace(task, parts=(lost,), attempt=task.attempt + 1, note=why))
        else:
            notes = {"nnlab": task.note, "torch": why} if task.note else {"torch": why}
            self.record.rows.append(measure.row(task.item.problem, lost, task.item.dtype, None, {}, notes=notes))
