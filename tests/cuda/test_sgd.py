"""kernels/sgd.cu through its launches and the gate, run on the host, against float64 loops and the array code."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnlab.cuda import launch
from nnlab.ops._cuda import sgd as kernels
from nnlab.ops._numpy import sgd as arrays
from tests.cuda.common import CPU, DTYPES, EMULATED, HALVES, NOTICED, break_sources, near, small_grid
from tests.ops.common import rng, scattered
from tests.oracles import optim as oracle

SHAPES = [(), (0, 2), (3, 5), (300,)]


def check(dtype: str, o: dict[str, Any], with_buffers: bool) -> None:
    draws = [
        [scattered(rng(81, k, i).standard_normal(s).astype(dtype)) for i, s in enumerate(SHAPES)] for k in range(3)
    ]
    params, grads, buffers = draws
    mine: dict[str, Any] = {"params": [p.copy() for p in params], "buffers": [v.copy() for v in buffers]}
    peer: dict[str, Any] = {"params": [p.copy() for p in params], "buffers": [v.copy() for v in buffers]}
    mine["params"][2] = np.array(params[2].T, order="C").T  # a view: overwritten in place all the same
    if not with_buffers:
        mine["buffers"] = peer["buffers"] = None
    elif o["first"]:  # what buffers hold does not matter then
        for v in mine["buffers"]:
            v[...] = np.nan
    kernels.step(EMULATED, grads=grads, **mine, **o)
    arrays.step(CPU, grads=grads, **peer, **o)
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        v = buffers[i].astype(np.float64) if with_buffers else None
        want_p, want_v = oracle.sgd(param.astype(np.float64), grad.astype(np.float64), v, **o)
        near(mine["params"][i], want_p, 4, str(o), scale=1)
        if with_buffers:
            near(mine["buffers"][i], want_v, 3, str(o), scale=1)
        if dtype not in HALVES:  # the array code rounds each step to half
            np.testing.assert_array_equal(mine["params"][i], peer["params"][i], str(o), strict=True)
            if with_buffers:
                np.testing.assert_array_equal(mine["buffers"][i], peer["buffers"][i], str(o), strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_step(dtype: str) -> None:
    flags = product((False, True), (0.0, 0.3), (0.0, 0.01), (False, True), (False, True))
    for first, dampening, decay, nesterov, maximize in flags:
        o = {"first": first, "dampening": dampening, "weight_decay": decay, "nesterov": nesterov, "maximize": maximize}
        for momentum in (0.0, 0.9):
            check(dtype, {**o, "lr": 0.1, "momentum": momentum}, with_buffers=momentum > 0)


def test_without_decay_infinity_stays() -> None:
    p = np.array([np.inf, 1], np.float32)
    o: dict[str, Any] = {
        "first": True,
        "lr": 0.5,
        "momentum": 0.0,
        "dampening": 0.0,
        "nesterov": False,
        "maximize": False,
    }
    kernels.step(EMULATED, params=[p], grads=[np.ones(2, np.float32)], buffers=None, weight_decay=0.0, **o)
    np.testing.assert_array_equal(p, [np.inf, 0.5])


@pytest.mark.parametrize("wide", [False, True])
def test_grid_stride_and_64_bit_indices(monkeypatch: pytest.MonkeyPatch, wide: bool) -> None:
    small_grid(monkeypatch)
    if wide:
        monkeypatch.setattr(launch, "_INDEX_LIMIT", 10)
    test_a_step("float32")


def _several_checks() -> None:
    test_a_step("float64")
    test_without_decay_infinity_stays()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("= maximize ? -g : g;", "= g;"),
        ("weight_decay != 0 ? p * weight_decay + down : down", "p * weight_decay + down"),
        ("p * weight_decay + down", "down"),
        ("old - lr * direction", "old + lr * direction"),
        ("first ? d : to_acc(v[i])", "to_acc(v[i])"),
        ("to_acc(v[i]) * momentum + d * keep", "to_acc(v[i]) * momentum + d"),
        ("v[i] = to_scalar(speed)", "v[i] = to_scalar(d)"),
        ("nesterov ? d + momentum * speed : speed", "speed"),
        ("nesterov ? d + momentum * speed : speed", "nesterov ? d + speed : speed"),
    ],
)
def test_a_broken_kernel_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, new: str) -> None:
    break_sources(monkeypatch, tmp_path, "sgd.cu", old, new)
    with pytest.raises(NOTICED):
        _several_checks()
