"""kernels/adam.cu through its launches and the gate, run on the host, against float64 loops and the array code."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnlab.cuda import launch
from nnlab.ops._cuda import adam as kernels
from nnlab.ops._numpy import adam as arrays
from tests.cuda.common import CPU, DTYPES, EMULATED, HALVES, NOTICED, break_sources, near, small_grid
from tests.ops.common import rng, scattered
from tests.oracles import optim as oracle

SHAPES = [(), (0, 2), (3, 5), (300,)]
STATE = ("params", "exp_avgs", "exp_avg_sqs", "max_exp_avg_sqs")


def draw(key: int, dtype: str, positive: bool) -> list[np.ndarray]:
    values = [rng(91, key, i).standard_normal(s) for i, s in enumerate(SHAPES)]
    return [scattered(np.asarray(np.abs(v) + 0.1 if positive else v, dtype)) for v in values]


def check(dtype: str, o: dict[str, Any], amsgrad: bool) -> None:
    grads = draw(9, dtype, False)
    start: dict[str, Any] = {name: draw(k, dtype, k > 1) for k, name in enumerate(STATE)}
    if not amsgrad:
        start["max_exp_avg_sqs"] = None
    mine, peer = ({k: v and [a.copy() for a in v] for k, v in start.items()} for _ in range(2))
    mine["params"][2] = np.array(start["params"][2].T, order="C").T  # a view: overwritten in place all the same
    kernels.step(EMULATED, grads=grads, **mine, **o)
    arrays.step(CPU, grads=grads, **peer, **o)
    for i, grad in enumerate(grads):
        p, m, v, u = (start[name] and start[name][i].astype(np.float64) for name in STATE)
        wanted = oracle.adam(p, grad.astype(np.float64), m, v, u, **o)
        for name, want in zip(STATE, wanted, strict=True):
            if want is None:
                continue
            near(mine[name][i], want, 8, f"{name} {o}", scale=1)
            if dtype not in HALVES:  # the array code rounds each step to half
                np.testing.assert_array_equal(mine[name][i], peer[name][i], f"{name} {o}", strict=True)


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_step(dtype: str, amsgrad: bool) -> None:
    for t, decay, decoupled, maximize in product((1, 7), (0.0, 0.1), (False, True), (False, True)):
        o = {"t": t, "lr": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 1e-3}
        check(dtype, {**o, "weight_decay": decay, "decoupled": decoupled, "maximize": maximize}, amsgrad)


def _one(p: float, u: float | None, decay: float = 0.0) -> list[np.ndarray]:
    """State of one element after a step with gradient 1 from m = v = 0."""
    state = [np.array([value], np.float32) for value in (p, 0.0, 0.0, 0.0 if u is None else u)]
    kernels.step(
        EMULATED, params=state[:1], grads=[np.ones(1, np.float32)], exp_avgs=state[1:2], exp_avg_sqs=state[2:3],
        max_exp_avg_sqs=None if u is None else state[3:], t=1, lr=0.5, beta1=0.9, beta2=0.99, eps=0.0,
        weight_decay=decay, decoupled=False, maximize=False,
    )  # fmt: skip
    return state


def test_not_a_number_stays_in_the_largest_moment() -> None:
    assert np.isnan(_one(1.0, np.nan)[3]).all()


def test_without_decay_infinity_stays() -> None:
    p, m, _, _ = _one(np.inf, None)
    assert (p, m) == (np.inf, np.float32(1 - 0.9))


@pytest.mark.parametrize("wide", [False, True])
def test_grid_stride_and_64_bit_indices(monkeypatch: pytest.MonkeyPatch, wide: bool) -> None:
    small_grid(monkeypatch)
    if wide:
        monkeypatch.setattr(launch, "_INDEX_LIMIT", 10)
    test_a_step("float32", True)


def _several_checks() -> None:
    test_a_step("float64", False)
    test_a_step("float64", True)
    test_not_a_number_stays_in_the_largest_moment()
    test_without_decay_infinity_stays()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("if (r.maximize) g = -g;", ""),
        ("if (r.shrink != 1) p = p * r.shrink;", ""),
        ("if (r.weight_decay != 0) g =", "g ="),
        ("g = g + p * r.weight_decay", "g = p * r.weight_decay"),
        ("m * r.beta1 + g * r.rest1", "m * r.beta1 + g * r.rest2"),
        ("v * r.beta2 + g * g * r.rest2", "v * r.beta2 + g * r.rest2"),
        ("sqrt(v) / r.root", "v / r.root"),
        ("sqrt(v) / r.root + r.eps", "(sqrt(v) + r.eps) / r.root"),
        ("moved.p - moved.m", "moved.p + moved.m"),
        ("before > moved.v || before != before", "before > moved.v"),
        ("before > moved.v ||", "before < moved.v ||"),
        ("u[i] = to_scalar(highest)", "u[i] = to_scalar(moved.v)"),
        ("step_down(moved, highest, r)", "step_down(moved, moved.v, r)"),
    ],
)
def test_a_broken_kernel_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, new: str) -> None:
    break_sources(monkeypatch, tmp_path, "adam.cu", old, new)
    with pytest.raises(NOTICED):
        _several_checks()
