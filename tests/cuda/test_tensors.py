"""Many tensors in one launch: tables as parameters, kernels/include/tensors.cuh and nnlab/ops/_cuda/tensors.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnlab.backend.emulated import KernelError
from nnlab.cuda import host, launch
from nnlab.errors import ArgumentError
from nnlab.ops import _cuda
from nnlab.ops._cuda import sgd, tensors
from nnlab.ops._numpy import sgd as arrays
from tests.cuda.common import CPU, EMULATED, NOTICED, break_sources
from tests.ops.common import rng, scattered

ORDERS: list[Any] = ["ascending", "descending", 1, 2]

PROBE = """
struct Written { typedef float* item; item at[3]; };
struct Read { typedef const float* item; item at[3]; };
struct Numbers { typedef int item; item at[40]; };
extern "C" __global__ void probe(const Read x, const Written y, const Numbers numbers, int count, int past) {
  for (int t = 0; t < count; ++t) {
    y.at[t][threadIdx.x] = x.at[t][threadIdx.x] * (float)numbers.at[t + 37];
    if (past) ((float*)x.at[t])[threadIdx.x] = y.at[t][1 + (int)threadIdx.x + past] = 0;
  }
}
extern "C" __global__ void spoils(const Written y) { y.at[2][0] = 1; }
"""


@pytest.fixture(scope="module")
def library() -> Path:
    return host.compile_text("probe", PROBE, macros={})


def _numbers(count: int = 40) -> np.void:
    return launch._by_value(np.arange(count, dtype=np.int32))


def test_tables_by_value(library: Path) -> None:
    """160 bytes of numbers; arrays behind pointers that are not const are written."""
    x, y = [np.arange(4, dtype=np.float32) + i for i in range(3)], [np.zeros(4, np.float32) for _ in range(3)]
    EMULATED.run_kernel(library, "probe", 1, 4, [tuple(x), tuple(y), _numbers(), np.int32(3), np.int32(0)])
    for i in range(3):
        np.testing.assert_array_equal(y[i], (np.arange(4) + i) * (37 + i))


def test_what_const_pointers_of_a_table_point_to_is_not_copied_back(library: Path) -> None:
    x, y = np.ones(4, np.float32), np.zeros(4, np.float32)
    arguments = [(x[:2], None, None), (y, None, None), _numbers(), np.int32(1), np.int32(1)]
    EMULATED.run_kernel(library, "probe", 1, 2, arguments)
    assert (x == 1).all()


def test_a_write_past_an_array_of_a_table_is_named(library: Path) -> None:
    x, y = [np.ones(2, np.float32), np.ones(2, np.float32)], [np.zeros(9, np.float32), np.zeros(2, np.float32)]
    arguments = [(*x, None), (*y, None), _numbers(), np.int32(2), np.int32(1)]
    with pytest.raises(KernelError, match=r"\[probe\] wrote bytes 8 to 15 of argument 1 \(shape \(2,\), float32"):
        EMULATED.run_kernel(library, "probe", 1, 2, arguments)


def test_a_write_to_an_entry_without_an_array(library: Path) -> None:
    y = np.zeros(2, np.float32)
    with pytest.raises(KernelError, match=r"\[spoils\] wrote to an empty array"):
        EMULATED.run_kernel(library, "spoils", 1, 1, [(y, y, None)])


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, np.ones(2, np.float32), "'argument 0' must be a table of 3 arrays, got 'argument 0 = ndarray'"),
        (0, (None,) * 2, "'argument 0' must be a table of 3 arrays, got 'argument 0 = tuple'"),
        (2, (None,) * 40, "'argument 2' must be a scalar of 160 bytes, got 'argument 2 = tuple'"),
        (2, _numbers(39), "'argument 2' must be a scalar of 160 bytes, got 'argument 2 = void'"),
        (3, (None,) * 3, "'argument 3' must be a scalar of 4 bytes"),
    ],
)
def test_other_arguments_are_refused(library: Path, position: int, value: Any, message: str) -> None:
    arguments: list[Any] = [(None,) * 3, (None,) * 3, _numbers(), np.int32(0), np.int32(0)]
    arguments[position] = value
    with pytest.raises(ArgumentError, match=message):
        EMULATED.run_kernel(library, "probe", 1, 1, arguments)


def step(sizes: list[int], dtypes: list[str], orders: list[Any], **options: Any) -> None:
    """A step of gradient descent over such tensors gives the array code's bits."""
    o: dict[str, Any] = {"first": False, "lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01}
    o |= {"nesterov": False, "maximize": False, **options}
    draws = [
        [scattered(rng(131, k, i).standard_normal(n).astype(dtypes[i % len(dtypes)])) for i, n in enumerate(sizes)]
        for k in range(3)
    ]
    params, grads, buffers = draws
    peer = [[a.copy() for a in params], [a.copy() for a in buffers]]
    arrays.step(CPU, params=peer[0], grads=grads, buffers=peer[1], **o)
    for order in orders:
        mine = [[a.copy() for a in params], [a.copy() for a in buffers]]
        mine[0][0] = scattered(mine[0][0])
        with EMULATED.ordered(order):
            sgd.step(EMULATED, params=mine[0], grads=grads, buffers=mine[1], **o)
        for found, wanted in zip(mine[0] + mine[1], peer[0] + peer[1], strict=True):
            np.testing.assert_array_equal(found, wanted, str(order), strict=True)


def started(monkeypatch: pytest.MonkeyPatch) -> list[launch.Launch]:
    ready: list[launch.Launch] = []
    run = launch.run
    monkeypatch.setattr(launch, "run", lambda be, one: (ready.append(one), run(be, one))[1])
    return ready


def test_ends_of_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    launches = started(monkeypatch)
    step([1, 4095, 4096, 4097, 0, 8192, 8193, 3], ["float32"], ORDERS)
    assert [(ready.name, ready.grid) for ready in launches] == [("sgd_momentum_step", (11,))] * len(ORDERS)


@pytest.mark.parametrize(("count", "launches"), [(63, 1), (64, 1), (65, 2), (130, 3)])
def test_a_launch_takes_64_tensors(monkeypatch: pytest.MonkeyPatch, count: int, launches: int) -> None:
    monkeypatch.setattr(tensors, "_PART", 4)
    ready = started(monkeypatch)
    step([1 + i % 11 for i in range(count)], ["float64"], ["ascending"])
    assert len(ready) == launches


def test_a_launch_takes_tensors_of_one_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = started(monkeypatch)
    step([5, 6, 7, 8, 9], ["float64", "float32"], ["ascending"])
    assert [sorted(name for name in one.macros if name.startswith("DTYPE")) for one in ready] == [
        ["DTYPE_FLOAT64"],
        ["DTYPE_FLOAT32"],
    ]


def test_no_tensors_and_empty_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = started(monkeypatch)
    step([0, 0], ["float32"], ["ascending"])
    tensors.launch_all(EMULATED, sgd._STEP, {"params": [], "grads": []}, lr=0.1, weight_decay=0.0, maximize=0)
    assert ready == []


def test_parameters_fit_into_a_launch() -> None:
    """A card takes 4 KiB; entries and scalars have 8 bytes at most."""
    for kernel in _cuda.kernels():
        entries = [launch._parsed(declared)[1] or 1 for declared in kernel.parameters.values()]
        assert 8 * sum(entries) <= 4096, kernel.name


def _several_checks() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors, "_PART", 4)
        sizes = [1 + i % 11 for i in range(70)]
        step(sizes, ["float64"], ["ascending"])
        # What this makes of the poison past an array's end is no longer poison: the gradient changes its sign.
        step(sizes, ["float64"], ["ascending"], first=True, maximize=True, weight_decay=0.0)


MUTANTS = [
    ("step = TENSORS / 2", "step = TENSORS / 4"),
    ("step > 0", "step > 1"),
    ("tensor + step < count && ", "tensor + step < 64 && "),
    ("<= chunk", "< chunk"),
    ("(chunk - first_chunk.at[tensor]) * part", "chunk * part"),
    ("(chunk - first_chunk.at[tensor]) * part", "(chunk - first_chunk.at[tensor]) * part + 1"),
    ("size - start < part ? size : start + part", "size"),
    ("size - start < part ? size : start + part", "start + part"),
]


@pytest.mark.parametrize(("old", "new"), MUTANTS)
def test_a_broken_kernel_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, new: str) -> None:
    break_sources(monkeypatch, tmp_path, "include/tensors.cuh", old, new)
    with pytest.raises(NOTICED):
        _several_checks()
