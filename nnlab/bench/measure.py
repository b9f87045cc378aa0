"""Rows of the table: each pass of each problem, timed and checked, in nnlab and beside it in PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnlab.backend import get_backend
from nnlab.bench import timing
from nnlab.bench.peer import Peer
from nnlab.bench.problem import Problem
from nnlab.bench.timing import Timing

SETS_OF_INPUTS = 2  # inputs take turns, so that no side finds its own in a cache
NO_GRADIENT = ("forward", "input_grad", "weight_grad")  # PyTorch runs these without its tape
NOT_COMPARABLE = ("dropout",)  # random


@dataclass(frozen=True)
class Side:
    """One library's time and its largest error, relative to the largest number of the result in float64."""

    timing: Timing
    error: float | None

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
        drawn = [problem.draw(np.random.default_rng([number, i])) for i in range(SETS_OF_INPUTS)]
        hosts = [{name: _as(array, dtype) for name, array in each.items()} for each in drawn]
        for part in problem.parts:
            yield _row(be, problem, part, hosts, dtype, peer, budget)


def _as(array: np.ndarray, dtype: str) -> np.ndarray:
    return array.astype(dtype) if array.dtype.kind == "f" else array


def _row(
    be: Any,
    problem: Problem,
    part: str,
    hosts: list[dict[str, np.ndarray]],
    dtype: str,
    peer: Peer | None,
    budget: float,
) -> Row:
    arrays = [{name: be.asarray(host.copy()) for name, host in each.items()} for each in hosts]
    sides = {"nnlab": [problem.ours(be, part, each) for each in arrays]}
    wanted = None if problem.op in NOT_COMPARABLE else _exact(problem, part, hosts[0])
    errors = {"nnlab": _error(be.to_numpy(sides["nnlab"][0]()), wanted)}
    with peer.torch.no_grad() if peer and part in NO_GRADIENT else nullcontext():
        for layout in peer.layouts if peer else ():
            assert peer is not None
            name = f"torch {layout}" if len(peer.layouts) > 1 else "torch"
            given = [{key: be.asarray(host.copy()) for key, host in each.items()} for each in hosts]
            tensors = [{key: peer.tensor(array, layout) for key, array in each.items()} for each in given]
            sides[name] = [problem.torch(part, each) for each in tensors]
            errors[name] = _error(peer.to_numpy(sides[name][0]()), wanted)
        times = timing.interleave(be, list(sides.values()), budget)
    measured = {name: Side(t, errors[name]) for name, t in zip(sides, times, strict=True)}
    cost = problem.cost(part, np.dtype(dtype).itemsize)
    return Row(
        problem.op, part, problem.network, problem.layer, problem.shape(), dtype, cost.flops, cost.bytes,
        measured.pop("nnlab"), measured,
    )  # fmt: skip


def _exact(problem: Problem, part: str, host: dict[str, np.ndarray]) -> np.ndarray:
    """The result in float64, computed on the CPU from the very numbers that both libraries are given."""
    cpu = get_backend("cpu")
    wide = {name: array.astype(np.float64) if array.dtype.kind == "f" else array for name, array in host.items()}
    return np.asarray(problem.ours(cpu, part, wide)())


def _error(found: np.ndarray, wanted: np.ndarray | None) -> float | None:
    """Largest deviation relative to the largest number."""
    if wanted is None:
        return None
    largest = float(np.abs(wanted).max(initial=0.0))
    return float(np.abs(found.astype(np.float64) - wanted).max(initial=0.0)) / largest if largest else 0.0
