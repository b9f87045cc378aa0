"""Rows of the table: each pass of each problem, timed and checked, in nnlab and beside it in PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nnlab.backend import get_backend
from nnlab.bench import timing
from nnlab.bench.peer import Peer
from nnlab.bench.problem import Call, Problem
from nnlab.bench.timing import Timing

SETS_OF_INPUTS = 2  # inputs take turns, so that no side finds its own in a cache
NO_GRADIENT = ("forward", "input_grad", "weight_grad")  # PyTorch runs these without its tape
NOT_COMPARABLE = ("dropout",)  # random


@dataclass(frozen=True)
class Side:
    """One library's time and its largest error, relative to the largest number of the result in float64."""

    timing: Timing
    error: float | None

    def merged(self, other: Side) -> Side:
        return Side(self.timing.merged(other.timing), self.error)

    def as_json(self) -> dict[str, Any]:
        return {**self.timing.as_json(), "error": self.error}


@dataclass(frozen=True)
class Row:
    """A pass of a problem; times in seconds."""

    op: str
    part: str
    network: str
    layer: str
    shape: str
    dtype: str
    flops: int
    bytes: int
    ours: Side
    peers: dict[str, Side] = field(default_factory=dict)

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
        return self.peers[self.peer].timing.median / self.ours.timing.median if self.peer else None

    def merged(self, other: Row) -> Row:
        """The row of both's rounds."""
        peers = {name: side.merged(other.peers[name]) for name, side in self.peers.items()}
        return replace(self, ours=self.ours.merged(other.ours), peers=peers)

    def fraction(self, bytes_per_second: float, flops_per_second: float) -> float:
        """The share of the roofline's speed that is reached."""
        floor = max(self.flops / flops_per_second, self.bytes / bytes_per_second)
        return floor / self.ours.timing.median

    def as_json(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in ("op", "part", "network", "layer", "shape", "dtype")},
            "flops": self.flops,
            "bytes": self.bytes,
            "ours": self.ours.as_json(),
            "peers": {name: side.as_json() for name, side in self.peers.items()},
        }


def rows(be: Any, problems: Iterable[Problem], dtype: str, peer: Peer | None, budget: float) -> Iterator[Row]:
    """Measure, a row at a time.

    Args:
        be: backend of the device.
        dtype: of the numbers.
        peer: PyTorch, or None.
        budget: seconds a side and row.
    """
    for number, problem in enumerate(problems):
        hosts = inputs(number, problem, dtype)
        for part in problem.parts:
            yield _row(be, problem, part, hosts, dtype, peer, budget)


def inputs(number: int, problem: Problem, dtype: str) -> list[dict[str, np.ndarray]]:
    """What problem number so-and-so of a run computes with: sets that take turns."""
    drawn = [problem.draw(np.random.default_rng([number, i])) for i in range(SETS_OF_INPUTS)]
    return [{name: _as(array, dtype) for name, array in each.items()} for each in drawn]


def _as(array: np.ndarray, dtype: str) -> np.ndarray:
    return array.astype(dtype) if array.dtype.kind == "f" else array


def calls(
    be: Any,
    problem: Problem,
    part: str,
    hosts: list[dict[str, np.ndarray]],
    peer: Peer | None = None,
    layout: str = "NCHW",
) -> list[Call]:
    """The pass over copies of the inputs, in nnlab or in the peer."""
    arrays = [{name: be.asarray(host.copy()) for name, host in each.items()} for each in hosts]
    if peer is None:
        return [problem.ours(be, part, each) for each in arrays]
    with no_tape(peer, part):
        tensors = [{name: peer.tensor(array, layout) for name, array in each.items()} for each in arrays]
        return [problem.torch(part, each) for each in tensors]


def no_tape(peer: Peer | None, part: str) -> AbstractContextManager[Any]:
    """Passes without PyTorch's tape, where nnlab has none either."""
    return peer.torch.no_grad() if peer and part in NO_GRADIENT else nullcontext()


def _row(
    be: Any,
    problem: Problem,
    part: str,
    hosts: list[dict[str, np.ndarray]],
    dtype: str,
    peer: Peer | None,
    budget: float,
) -> Row:
    sides = {"nnlab": calls(be, problem, part, hosts)}
    wanted = exact(problem, part, hosts[0])
    errors = {"nnlab": error(be.to_numpy(sides["nnlab"][0]()), wanted)}
    with no_tape(peer, part):
        for layout in peer.layouts if peer else ():
            assert peer is not None
            name = f"torch {layout}" if len(peer.layouts) > 1 else "torch"
            sides[name] = calls(be, problem, part, hosts, peer, layout)
            errors[name] = error(peer.to_numpy(sides[name][0]()), wanted)
        times = timing.interleave(be, list(sides.values()), budget)
    measured = {name: Side(t, errors[name]) for name, t in zip(sides, times, strict=True)}
    return row(problem, part, dtype, measured.pop("nnlab"), measured)


def row(problem: Problem, part: str, dtype: str, ours: Side, peers: dict[str, Side]) -> Row:
    """What was measured, with what was counted."""
    cost = problem.cost(part, np.dtype(dtype).itemsize)
    named = (problem.op, part, problem.network, problem.layer, problem.shape(), dtype)
    return Row(*named, cost.flops, cost.bytes, ours, peers)


def exact(problem: Problem, part: str, host: dict[str, np.ndarray]) -> np.ndarray | None:
    """The result in float64, computed on the CPU from the very numbers that both libraries are given."""
    if problem.op in NOT_COMPARABLE:
        return None
    cpu = get_backend("cpu")
    wide = {name: array.astype(np.float64) if array.dtype.kind == "f" else array for name, array in host.items()}
    return np.asarray(problem.ours(cpu, part, wide)())


def error(found: np.ndarray, wanted: np.ndarray | None) -> float | None:
    """Largest deviation relative to the largest number."""
    if wanted is None:
        return None
    largest = float(np.abs(wanted).max(initial=0.0))
    return float(np.abs(found.astype(np.float64) - wanted).max(initial=0.0)) / largest if largest else 0.0
