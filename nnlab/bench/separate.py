"""Each library in a process of its own, so that neither's threads or memory can reach the other's times.

The processes still take turns: one repeats a call while the others wait for a message.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator
from itertools import cycle
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from nnlab.backend import get_backend
from nnlab.backend.threads import get_num_threads, set_num_threads
from nnlab.bench import measure, resident, timing
from nnlab.bench.inputs import drawn
from nnlab.bench.measure import Row, Side
from nnlab.bench.problem import Problem
from nnlab.errors import NNLabError

LIBRARIES = ("nnlab", "torch")


class Worker:
    """A process that runs one library's calls on the CPU when it is asked to."""

    def __init__(self, library: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, library, get_num_threads()), daemon=True)
        self._process.start()
        theirs.close()
        self._name = library

    def _ask(self, *message: Any) -> Any:
        try:
            self._pipe.send(message)
            failed, answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join(10)
            code = self._process.exitcode
            raise NNLabError(f"[bench] the process of {self._name} ended (exit code {code})") from error
        if failed:
            raise NNLabError(f"[bench] {self._name} failed in its own process: {answer}")
        return answer

    def prepare(self, number: int, problem: Problem, part: str, dtype: str) -> tuple[np.ndarray, int | None]:
        """Make ready what :meth:`seconds` repeats; the first result, and by how many bytes the process grew for it."""
        found: tuple[np.ndarray, int | None] = self._ask("prepare", number, problem, part, dtype)
        return found

    def seconds(self) -> float:
        """The time of one call."""
        return float(self._ask("seconds"))

    def stop(self) -> None:
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()


def rows(problems: Iterable[Problem], dtype: str, peer: bool, budget: float, check: bool = True) -> Iterator[Row]:
    """As :func:`nnlab.bench.measure.rows` on the CPU, with a process for each library."""
    workers = [Worker(library) for library in LIBRARIES[: 1 + peer]]
    try:
        for number, problem in enumerate(problems):
            for part in problem.parts:
                yield _row(workers, number, problem, part, dtype, budget, check)
    finally:
        for worker in workers:
            worker.stop()


def _row(
    workers: list[Worker], number: int, problem: Problem, part: str, dtype: str, budget: float, check: bool
) -> Row:
    exact = measure.exact(problem, part, drawn(get_backend("cpu"), problem, number, dtype)[0]) if check else None
    first = [worker.prepare(number, problem, part, dtype) for worker in workers]
    errors = [measure.error(result, exact) for result, _ in first]
    times = timing.take_turns([worker.seconds for worker in workers], budget)
    ours, *peers = (Side(time, error) for time, error in zip(times, errors, strict=True))
    grown = {name: grown for name, (_, grown) in zip(LIBRARIES, first, strict=False) if grown is not None}
    readings = {"peak_bytes": grown} if grown and problem.op == "training" else {}
    return measure.row(problem, part, dtype, ours, dict(zip(LIBRARIES[1:], peers, strict=False)), readings=readings)


def _serve(pipe: Connection, library: str, threads: int) -> None:
    """Answer messages until the other side closes."""
    set_num_threads(threads)
    be = get_backend("cpu")
    peer = None
    if library == "torch":
        from nnlab.bench.peer import Peer

        peer = Peer(be)
    turn: Iterator[Any] = iter(())
    part = ""
    while True:
        try:
            kind, *rest = pipe.recv()
        except EOFError:
            return
        try:
            if kind == "prepare":
                number, problem, part, dtype = rest
                turn = iter(())
                be.empty_cache()  # what earlier rows left would hide what this one takes
                sides = measure.calls(be, problem, part, dtype, drawn(be, problem, number, dtype), peer)
                turn = cycle(sides)
                result, grown = resident.growth(next(turn))
                answer: Any = be.to_numpy(result) if peer is None else peer.to_numpy(result), grown
            else:
                with measure.no_tape(peer, part):
                    answer = timing.seconds(be, next(turn))
            pipe.send((False, answer))
        except Exception as error:
            pipe.send((True, f"{type(error).__name__}: {error}"))
