"""The values of kernels' own macros on real problems: each choice is compared with float64 first, then timed.

The choices are those that the kernels declare (``Kernel.variants``), a handful, so all are tried. A choice is run by
putting a table of this one entry before the launch gate, the way by which it is taken later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import numpy as np

from nnlab.bench import measure, record, timing
from nnlab.bench.compare import SURE
from nnlab.bench.inputs import drawn
from nnlab.bench.page import CONV
from nnlab.bench.problem import Arrays, Call, Problem
from nnlab.bench.report import geometric_mean
from nnlab.bench.timing import Timing
from nnlab.cuda import tuned
from nnlab.cuda.launch import Kernel
from nnlab.cuda.tuned import Entry, Key, Table
from nnlab.cuda.variants import own_macros
from nnlab.errors import DeviceError, NNLabError
from nnlab.ops import _cuda
from nnlab.testing import tolerance

GAIN = 0.03  # the body's own choice stays unless it takes more time than another one by more than this

# Which kernel files the operations of the problems use. Dropout is random: its results cannot be compared.
_UNITS = {
    "conv2d": CONV,
    "conv_transpose2d": CONV,
    "max_pool2d": ("max_pool",),
    "local_response_norm": ("local_response_norm",),
    "cross_entropy": ("cross_entropy",),
    "lstm": ("lstm_cell",),
}
_FAILURES = (NNLabError, RuntimeError, MemoryError)  # of a compiler, a launch, a card


def kernels(op: str) -> list[Kernel]:
    """The kernels of an operation that offer a choice."""
    found = [kernel for kernel in _cuda.kernels() if kernel.unit in _UNITS.get(op, ())]
    return [kernel for kernel in found if len(list(own_macros(kernel))) > 1]


def operations() -> list[str]:
    """The operations that have such kernels."""
    return [op for op in _UNITS if kernels(op)]


@dataclass(frozen=True)
class Choice:
    """Values of a kernel's macros: their largest error, their time if they are right, else why they are not taken."""

    macros: Mapping[str, int]
    error: float | None
    timing: Timing | None
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        """``seconds`` and ``noise``, their relative standard error, are None where there was nothing to time."""
        error = self.error if self.error is not None and isfinite(self.error) else None
        time, found = self.timing, {"macros": dict(self.macros), "error": error, "why": self.why}
        if time is None:
            return {**found, "seconds": None, "noise": None, "count": 0}
        return {**found, "seconds": time.median, "noise": time.error, "count": time.count}


@dataclass(frozen=True)
class Finding:
    """A kernel in a pass of a problem.

    Attributes:
        key: what the entry of the table holds for.
        preferred: the values that the body takes of its own.
        choices: all of them, in the order of the kernel's variants; none if they were not measured.
        known: whether the table has had them already.
    """

    problem: Problem
    part: str
    kernel: Kernel
    key: Key
    preferred: Mapping[str, int]
    choices: tuple[Choice, ...] = ()
    known: bool = False

    @property
    def about(self) -> dict[str, str]:
        """The problem, as an entry of the table names it."""
        problem = self.problem
        names = {"op": problem.op, "part": self.part, "network": problem.network, "layer": problem.layer}
        return {**names, "shape": problem.shape()}

    @property
    def every(self) -> list[dict[str, int]]:
        """All choices that the kernel offers."""
        return list(own_macros(self.kernel))

    def same_problem(self, one: Mapping[str, Any]) -> bool:
        """Whether a record of the table is of this problem."""
        return one.items() >= self.about.items()

    def measured_as(self, one: Mapping[str, Any]) -> bool:
        """Whether a record of the table is of this problem and has all choices."""
        return self.same_problem(one) and [choice["macros"] for choice in one["choices"]] == self.every

    def as_json(self) -> dict[str, Any]:
        choices = [choice.as_json() for choice in self.choices]
        return {**self.about, "preferred": dict(self.preferred), "choices": choices}


class _Asking(Table):
    """Answers as an empty table does, and notes the questions."""

    def __init__(self) -> None:
        super().__init__({})
        self.asked: dict[Key, dict[str, int]] = {}  # with the values that the body prefers

    def find(self, kernel: str, dtype: Any, sizes: Sequence[int], preferred: Mapping[str, int]) -> Mapping[str, int]:
        self.asked.setdefault((kernel, dtype.name, tuned.size_class(sizes)), dict(preferred))
        return preferred


def sweep(
    be: Any, problems: Iterable[Problem], dtype: str, budget: float, known: Mapping[Key, Entry], dry: bool = False
) -> Iterator[Finding]:
    """Try every choice of every kernel that the problems launch, a finding at a time.

    Args:
        be: backend of the device.
        dtype: of the numbers.
        budget: seconds that a choice may take.
        known: entries whose problems are not measured again.
        dry: run each pass once, to see what it launches; measure nothing.

    Raises:
        DeviceError: after a choice that failed the device does not run the body's own any more.
    """
    described = {kernel.name: kernel for kernel in _cuda.kernels()}
    for number, problem in enumerate(problems):
        inputs = drawn(be, problem, number, dtype)
        for part in problem.parts:
            calls = measure.calls(be, problem, part, dtype, inputs)
            wanted: np.ndarray | None = None
            for key, preferred in _asked(be, calls[0]).items():
                finding = Finding(problem, part, described[key[0]], key, preferred)
                if len(finding.every) < 2:
                    continue
                if key in known and any(map(finding.measured_as, known[key].measured)):
                    finding = replace(finding, known=True)
                elif not dry:
                    wanted = _exact(be, problem, part, inputs[0]) if wanted is None else wanted
                    assert wanted is not None, f"{problem.op} cannot be compared"
                    terms = problem.cost(part, 1).flops // max(wanted.size, 1)
                    choices = _choices(be, finding, calls, wanted, tolerance(dtype, terms), budget)
                    finding = replace(finding, choices=choices)
                yield finding


def _exact(be: Any, problem: Problem, part: str, arrays: Arrays) -> np.ndarray | None:
    return measure.exact(problem, part, {name: be.to_numpy(array) for name, array in arrays.items()})


def _asked(be: Any, call: Call) -> dict[Key, dict[str, int]]:
    asking = _Asking()
    with tuned.instead(be, asking), suppress(*_FAILURES):  # which are met again when the choices are tried
        call()
    return asking.asked


def _choices(
    be: Any, finding: Finding, calls: list[Call], wanted: np.ndarray, allowed: float, budget: float
) -> tuple[Choice, ...]:
    every = finding.every
    sides = [[_with(be, finding.key, macros, call) for call in calls] for macros in every]
    own = sides[every.index(dict(finding.preferred))][0]
    tried = [_tried(be, macros, side[0], own, wanted, allowed) for macros, side in zip(every, sides, strict=True)]
    right = [i for i, choice in enumerate(tried) if not choice.why]
    times = timing.interleave(be, [sides[i] for i in right], budget) if right else []
    for i, time in zip(right, times, strict=True):
        tried[i] = replace(tried[i], timing=time)
    return tuple(tried)


def _with(be: Any, key: Key, macros: Mapping[str, int], call: Call) -> Call:
    other = Table({key: macros})

    def run() -> Any:
        with tuned.instead(be, other):
            return call()

    return run


def _tried(be: Any, macros: Mapping[str, int], call: Call, own: Call, wanted: np.ndarray, allowed: float) -> Choice:
    """A choice run once and compared. After a failure the body's own choice must still run."""
    try:
        found = be.to_numpy(call())
    except _FAILURES as failure:
        why = f"{type(failure).__name__}: {failure}"
        if call is not own:
            _still_runs(be, own, f"after {label(macros)} failed ({why})")
        return Choice(macros, None, None, why)
    error = measure.error(found, wanted)
    right = error is not None and error <= allowed  # not so if it is NaN
    return Choice(macros, error, None, "" if right else f"wrong: error {error:.1e}, at most {allowed:.1e} is rounding")


def _still_runs(be: Any, own: Call, when: str) -> None:
    """A GPU refuses everything after some errors: then nothing that follows would say anything about a choice."""
    try:
        be.to_numpy(own())
    except _FAILURES as failure:
        raise DeviceError(f"[tune] {when} the body's own choice does not run any more: {failure}") from failure


def label(macros: Mapping[str, int]) -> str:
    """E.g. ``TILE_ROWS=16``."""
    return " ".join(f"{name}={value}" for name, value in macros.items())


def pick(measured: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The choice to take for the problems of an entry, from their records.

    It is right in all of them and the fastest in the geometric mean. Empty, so that the body's own choice is taken, if
    that is right too and slower by no more than :data:`GAIN` or the noise, or if no choice is right in all.
    """
    every: dict[str, dict[str, int]] = {}
    right: list[dict[str, Mapping[str, Any]]] = []  # of each problem, the choices that have a time
    for problem in measured:
        every |= {label(choice["macros"]): choice["macros"] for choice in problem["choices"]}
        right.append({label(choice["macros"]): choice for choice in problem["choices"] if choice["seconds"]})
    means = {
        name: geometric_mean(each[name]["seconds"] for each in right)
        for name in every
        if all(name in each for each in right)
    }
    if not means:
        return {}
    best = min(means, key=lambda name: means[name])
    own = [label(problem["preferred"]) for problem in measured]
    if all(name in each for name, each in zip(own, right, strict=True)):
        pairs = [(each[name], each[best]) for name, each in zip(own, right, strict=True)]
        gain = geometric_mean(mine["seconds"] / other["seconds"] for mine, other in pairs) - 1
        noise = sum(one["noise"] ** 2 for pair in pairs for one in pair) ** 0.5 / len(pairs)
        if gain <= max(GAIN, SURE * noise):
            return {}
    return dict(every[best])


class Results:
    """A table file that grows with each finding.

    Entries for other kernel sources are kept, and replaced when they are measured again.
    """

    def __init__(self, be: Any) -> None:
        about = record.about(be, None)
        self.device = tuned.device_name(be)
        self.path = tuned.own_file(self.device)
        self._about = {name: about[name] for name in ("date", "versions", "commit")}
        self._entries = {entry.key: entry for entry in tuned.load(self.path)}

    @property
    def known(self) -> dict[Key, Entry]:
        """What holds for the sources as they are."""
        return {key: entry for key, entry in self._entries.items() if not entry.stale}

    @property
    def stale(self) -> int:
        return len(self._entries) - len(self.known)

    def add(self, finding: Finding) -> None:
        """Take a finding in, and write the file."""
        key, unit = finding.key, finding.kernel.unit
        before = self.known[key].measured if key in self.known else ()
        others = [one for one in before if not finding.same_problem(one)]
        measured = (*others, {**finding.as_json(), **self._about})
        self._entries[key] = Entry(unit, *key, pick(measured), tuned.digest(unit), measured)
        tuned.save(self.path, self.device, list(self._entries.values()))
