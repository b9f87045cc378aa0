"""Rows of the table: each pass of each problem, timed and checked, in nnlab and beside it in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from nnlab.backend import get_backend
from nnlab.bench import timing
from nnlab.bench.inputs import drawn, given, itemsize
from nnlab.bench.peer import Peer
from nnlab.bench.problem import Arrays, Call, Problem
from nnlab.bench.sensors import Sensors, between
from nnlab.bench.timing import Timing

NO_GRADIENT = ("forward", "input_grad", "weight_grad")  # PyTorch runs these without its tape
NOT_COMPARABLE = ("dropout",)  # random
OTHER_PRECISION = ("tf32", "bf16")  # the last word of a side's name


@dataclass(frozen=True)
class Side:
    """One library's time and its largest error, relative to the largest number of the result in float64."""

    timing: Timing
    error: float | None

    def merged(self, other: Side) -> Side:
        return Side(self.timing.merged(other.timing), self.error)

    def as_json(self) -> dict[str, Any]:
        return {**self.timing.as_json(), "error": self.error}


def _merged(some: dict[str, Side], others: dict[str, Side]) -> dict[str, Side]:
    both = {name: side.merged(others[name]) for name, side in some.items() if name in others}
    return {**some, **others, **both}


@dataclass(frozen=True)
class Row:
    """A pass of a problem; times in seconds.

    Attributes:
        ours: nnlab's side, None if it was not asked for or failed.
        peers: sides of the same precision.
        others: sides of another precision, shown but not compared with.
        notes: why a side is missing, by its name; ``"error"``: why there are no errors.
        readings: the card's, before and after the timed loop (sensors.py); ``joules_per_call`` and
            ``joules_per_image`` of each side, for training; ``peak_bytes``: by how much a process of its own grew.
    """

    op: str
    part: str
    network: str
    layer: str
    shape: str
    dtype: str
    flops: int
    bytes: int
    ours: Side | None
    peers: dict[str, Side] = field(default_factory=dict)
    others: dict[str, Side] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    readings: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, ...]:
        return self.op, self.part, self.network, self.layer, self.shape, self.dtype

    @property
    def peer(self) -> str | None:
        """The fastest peer."""
        return min(self.peers, key=lambda name: self.peers[name].timing.median) if self.peers else None

    @property
    def ratio(self) -> float | None:
        """How many times faster than the fastest peer."""
        if self.peer is None or self.ours is None:
            return None
        return self.peers[self.peer].timing.median / self.ours.timing.median

    @property
    def failed(self) -> bool:
        """Whether nnlab was asked for and gave no time."""
        return "nnlab" in self.notes

    @property
    def throttled(self) -> bool:
        """Whether the card was held back while the row was timed."""
        return bool(self.readings.get("slowed"))

    def merged(self, other: Row) -> Row:
        """The row of both's rounds; a side that one of them lacks is the other's."""
        ours = _merged({} if self.ours is None else {"": self.ours}, {} if other.ours is None else {"": other.ours})
        slowed = dict.fromkeys([*self.readings.get("slowed", []), *other.readings.get("slowed", [])])
        return replace(
            self,
            ours=ours.get(""),
            peers=_merged(self.peers, other.peers),
            others=_merged(self.others, other.others),
            notes=self.notes | other.notes,
            readings=self.readings | other.readings | ({"slowed": list(slowed)} if slowed else {}),
        )

    def fraction(self, bytes_per_second: float, flops_per_second: float) -> float | None:
        """The share of the roofline's speed that is reached."""
        floor = max(self.flops / flops_per_second, self.bytes / bytes_per_second)
        return None if self.ours is None else floor / self.ours.timing.median

    def as_json(self) -> dict[str, Any]:
        optional = {
            "others": {name: side.as_json() for name, side in self.others.items()},
            "notes": self.notes,
            "readings": self.readings,
        }
        return {
            **{name: getattr(self, name) for name in ("op", "part", "network", "layer", "shape", "dtype")},
            "flops": self.flops,
            "bytes": self.bytes,
            "ours": None if self.ours is None else self.ours.as_json(),
            "peers": {name: side.as_json() for name, side in self.peers.items()},
            **{name: value for name, value in optional.items() if value},
        }


def rows(
    be: Any,
    problems: Iterable[Problem],
    dtype: str,
    peer: Peer | None,
    budget: float,
    ours: bool = True,
    compiled: bool = False,
    sensors: Sensors | None = None,
    parts: Collection[str] | None = None,
    check: bool = True,
) -> Iterator[Row]:
    """Measure, a row at a time. A side that fails loses its own numbers only, and its row says why.

    Args:
        be: backend of the device.
        dtype: of the numbers.
        peer: PyTorch, or None.
        budget: seconds a side and row.
        ours: whether nnlab is measured, and not its peers alone.
        compiled: whether whole steps are measured with ``torch.compile`` too, which takes a minute each.
        sensors: of the card.
        parts: only these passes.
        check: whether results are compared with float64; a later round of the same rows need not be.
    """
    for number, problem in enumerate(problems):
        inputs = drawn(be, problem, number, dtype)
        for part in [each for each in problem.parts if parts is None or each in parts]:
            yield _Pass(be, problem, part, dtype, inputs, peer, compiled, check).row(ours, budget, sensors)
        if not be.host_memory:
            del inputs
            be.empty_cache()
            if peer is not None:
                peer.free()


class _Pass:
    """A pass of a problem with its inputs."""

    def __init__(
        self,
        be: Any,
        problem: Problem,
        part: str,
        dtype: str,
        inputs: list[dict[str, Any]],
        peer: Peer | None,
        compiled: bool,
        check: bool,
    ) -> None:
        self.be, self.problem, self.part, self.dtype = be, problem, part, dtype
        self.inputs, self.peer, self.compiled, self.check = inputs, peer, compiled, check
        self.notes: dict[str, str] = {}

    def row(self, ours: bool, budget: float, sensors: Sensors | None) -> Row:
        peer, problem = self.peer, self.problem
        measured: dict[str, Side] = {}
        readings: dict[str, Any] = {}
        sides: dict[str, list[Call]] = {}
        errors: dict[str, float | None] = {}
        with no_tape(peer, self.part):
            wanted = self._exact()
            for name, prepare in self._sides(ours).items():
                try:
                    made = prepare()
                    if made:
                        errors[name] = self._error(name, made[0](), wanted)
                        sides[name] = made
                except Exception as failure:
                    self.notes[name] = reason(failure)
            del wanted
            try:
                before = sensors.read() if sensors else {}
                times = timing.interleave(self.be, list(sides.values()), budget) if sides else []
                readings = between(before, sensors.read()) if sensors else {}
                measured = {name: Side(t, errors[name]) for name, t in zip(sides, times, strict=True)}
                if sensors and problem.op == "training":
                    readings |= self._energy(sensors, sides)
            except Exception as failure:  # whose it is cannot be said
                self.notes |= {name: reason(failure) for name in sides if name not in measured}
        mine = measured.pop("nnlab", None)
        others = {name: measured.pop(name) for name in list(measured) if name.endswith(OTHER_PRECISION)}
        more = {"others": others, "notes": self.notes, "readings": readings}
        return row(problem, self.part, self.dtype, mine, measured, **more)

    def _sides(self, ours: bool) -> dict[str, Callable[[], list[Call]]]:
        """What prepares each side's calls, one for each set of inputs."""
        be, peer, problem, part = self.be, self.peer, self.problem, self.part
        sides: dict[str, Callable[[], list[Call]]] = {}
        if ours:
            sides["nnlab"] = lambda: calls(be, problem, part, self.dtype, self.inputs)
        for layout in peer.layouts if peer else ():
            assert peer is not None
            name = f"torch {layout}" if len(peer.layouts) > 1 else "torch"
            sides[name] = partial(calls, be, problem, part, self.dtype, self.inputs, peer, layout)
        if peer is not None and type(problem).modes is not Problem.modes:
            sides |= self._modes(peer, name, layout)  # in the last layout, which is the one made for speed
        if not be.host_memory and self.dtype == "float32":
            sides["cupy"] = self._arrays
        return sides

    def _modes(self, peer: Peer, name: str, layout: str) -> dict[str, Callable[[], list[Call]]]:
        def mode(which: str) -> list[Call]:
            """With one set of inputs: each would be compiled anew."""
            tensors = {key: peer.given(array, layout, self.dtype) for key, array in self.inputs[0].items()}
            return [self.problem.modes(self.part, tensors)[which]()]

        def tf32() -> list[Call]:
            plain = calls(self.be, self.problem, self.part, self.dtype, self.inputs[:1], peer, layout)
            return [peer.tf32(call) for call in plain]

        sides: dict[str, Callable[[], list[Call]]] = {}
        if self.compiled:
            sides[f"{name} compile"] = lambda: mode("compile")
        if self.dtype == "float32" and not self.be.host_memory:
            sides |= {f"{name} tf32": tf32, f"{name} bf16": lambda: mode("bf16")}
        return sides

    def _arrays(self) -> list[Call]:
        copies = [{name: given(array, self.dtype) for name, array in each.items()} for each in self.inputs]
        made = (self.problem.arrays(self.be.xp, self.part, each) for each in copies)
        return [call for call in made if call is not None]

    def _exact(self) -> Any:
        """The result in float64: on a GPU PyTorch's, a tensor there (a CPU takes minutes), else nnlab's on the CPU."""
        if not self.check or self.problem.op in NOT_COMPARABLE:
            return None
        try:
            if self.peer is not None and not self.be.host_memory:
                wanted = self.peer.exact(self.problem, self.part, self.inputs[0])
                self.peer.free()
                return wanted
            hosts = {name: self.be.to_numpy(array) for name, array in self.inputs[0].items()}
            return exact(self.problem, self.part, hosts)
        except Exception as failure:
            self.notes["error"] = reason(failure)
            return None

    def _error(self, name: str, found: Any, wanted: Any) -> float | None:
        self.be.synchronize()  # what failed on a GPU fails here
        if wanted is None:
            return None
        peer, ours = self.peer, not name.startswith("torch")
        if peer is not None and not self.be.host_memory:
            return peer.deviation(peer.tensor(found) if ours else found, wanted)
        assert ours or peer is not None
        host = self.be.to_numpy(found) if ours else peer.to_numpy(found)  # type: ignore[union-attr]
        return error(host, wanted)

    def _energy(self, sensors: Sensors, calls: dict[str, list[Call]]) -> dict[str, Any]:
        found = {name: sensors.energy(each, self.be.synchronize) for name, each in calls.items()}
        joules = {name: value for name, value in found.items() if value is not None}
        batch = getattr(self.problem, "batch", 1)
        images = {name: value / batch for name, value in joules.items()}
        return {"joules_per_call": joules, "joules_per_image": images} if joules else {}


def calls(
    be: Any,
    problem: Problem,
    part: str,
    dtype: str,
    inputs: list[dict[str, Any]],
    peer: Peer | None = None,
    layout: str = "NCHW",
) -> list[Call]:
    """The pass over copies of the inputs, in nnlab or in the peer."""
    if peer is None:
        return [problem.ours(be, part, {name: given(a, dtype) for name, a in each.items()}) for each in inputs]
    with no_tape(peer, part):
        tensors = [{name: peer.given(a, layout, dtype) for name, a in each.items()} for each in inputs]
        return [problem.torch(part, each) for each in tensors]


def no_tape(peer: Peer | None, part: str) -> AbstractContextManager[Any]:
    """Passes without PyTorch's tape, where nnlab has none either."""
    return peer.torch.no_grad() if peer and part in NO_GRADIENT else nullcontext()


def exact(problem: Problem, part: str, host: Arrays) -> np.ndarray | None:
    """The result in float64, computed on the CPU from the very numbers that both libraries are given."""
    if problem.op in NOT_COMPARABLE:
        return None
    wide = {name: array.astype(np.float64) if array.dtype.kind == "f" else array for name, array in host.items()}
    return np.asarray(problem.ours(get_backend("cpu"), part, wide)())


def error(found: np.ndarray, wanted: np.ndarray | None) -> float | None:
    """Largest deviation relative to the largest number."""
    if wanted is None:
        return None
    largest = float(np.abs(wanted).max(initial=0.0))
    return float(np.abs(found.astype(np.float64) - wanted).max(initial=0.0)) / largest if largest else 0.0


def row(problem: Problem, part: str, dtype: str, ours: Side | None, peers: dict[str, Side], **more: Any) -> Row:
    """What was measured, with what was counted."""
    cost = problem.cost(part, itemsize(dtype))
    named = (problem.op, part, problem.network, problem.layer, problem.shape(), dtype)
    return Row(*named, cost.flops, cost.bytes, ours, peers, **more)


def reason(failure: BaseException) -> str:
    """An exception in a line."""
    first = next(iter(str(failure).strip().splitlines()), "")
    return f"{type(failure).__name__}: {first}"[:500]
