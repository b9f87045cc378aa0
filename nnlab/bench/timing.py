"""Repetitions of several computations, interleaved: A B A B ..., so that a change of the machine's pace meets all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np

from nnlab.bench.problem import Call

WARM_UP = 2  # calls of each side before any is timed; the first may compile
LEAST, MOST = 3, 200  # repetitions
REST = 0.005  # seconds before a call on the CPU: another library's threads spin for so long, waiting for more work
PATIENCE = 4  # times the budget that a slow side may take so that a quick one gets its repetitions


@dataclass(frozen=True)
class Timing:
    """Seconds of one call.

    Attributes:
        median: of all repetitions; where there were several rounds, the median of theirs.
        spread: the typical deviation from it (1.4826 times the median one, the standard deviation of a normal
            distribution), relative to it.
        best: the shortest.
        count: repetitions.
        rounds: the median of each round. Rounds lie minutes apart and use other memory, so they differ by more than the
            repetitions of one.
    """

    median: float
    spread: float
    best: float
    count: int
    rounds: tuple[float, ...]

    @staticmethod
    def of(seconds: Sequence[float]) -> Timing:
        median = float(np.median(seconds))
        spread = 1.4826 * float(np.median(np.abs(np.asarray(seconds) - median))) / median
        return Timing(median, spread, min(seconds), len(seconds), (median,))

    def merged(self, other: Timing) -> Timing:
        """The timing of both's rounds."""
        rounds, count = self.rounds + other.rounds, self.count + other.count
        spread = (self.spread * self.count + other.spread * other.count) / count
        return Timing(float(np.median(rounds)), spread, min(self.best, other.best), count, rounds)

    @property
    def error(self) -> float:
        """Standard error of the median by the repetitions' spread, relative."""
        return float(1.2533 * self.spread / self.count**0.5)

    @property
    def drift(self) -> float:
        """Standard deviation between rounds, relative; 0 if there was but one."""
        if len(self.rounds) < 2:
            return 0.0
        return float(np.std(self.rounds, ddof=1) / np.mean(self.rounds))

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def seconds(be: Any, call: Call) -> float:
    """The time of one call: the CPU's clock, or a GPU's events with its cache flushed before."""
    if not be.host_memory:
        return float(be.elapsed(call))
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def interleave(be: Any, sides: Sequence[Sequence[Call]], budget: float) -> list[Timing]:
    """Time several sides against each other.

    Args:
        be: backend of the device that all sides run on.
        sides: for each the same computation over different inputs, which take turns.
        budget: seconds that each side gets, but :data:`LEAST` calls at least, :data:`MOST` at most.
    """
    rest = REST if be.host_memory and len(sides) > 1 else 0.0
    return take_turns([partial(_next, be, cycle(calls)) for calls in sides], budget, rest)


def _next(be: Any, turn: Iterator[Call]) -> float:
    return seconds(be, next(turn))


def take_turns(timers: Sequence[Callable[[], float]], budget: float, rest: float = REST) -> list[Timing]:
    """As :func:`interleave`, of functions that each run one call and return its seconds; a rest before each call."""
    for timer in timers:
        for _ in range(WARM_UP):
            timer()
    times: list[list[float]] = [[] for _ in timers]
    order = list(range(len(timers)))
    while len(times[0]) < LEAST or (
        len(times[0]) < MOST
        and min(map(sum, times)) + rest * len(times[0]) < budget
        and max(map(sum, times)) < PATIENCE * budget
    ):
        for side in order:
            time.sleep(rest)
            times[side].append(timers[side]())
        order.reverse()
    return [Timing.of(each) for each in times]
