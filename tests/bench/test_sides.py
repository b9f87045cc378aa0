"""Sides of a row: array code, modes of PyTorch, sides that fail, and the way a GPU takes, on a stand-in for one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import nnlab.backend
from nnlab.backend import get_backend
from nnlab.backend.cpu import CpuBackend
from nnlab.bench import ceilings, inputs, measure, training
from nnlab.bench.ceilings import Ceilings
from nnlab.bench.conv import Conv2d
from nnlab.bench.dense import Linear
from nnlab.bench.measure import rows
from nnlab.bench.pointwise import CrossEntropy, Dropout, LocalResponseNorm
from nnlab.bench.pool import MaxPool2d
from nnlab.bench.problem import Problem
from nnlab.bench.recurrent import LSTM
from nnlab.bench.sensors import Sensors
from nnlab.bench.step import OptimizerStep
from nnlab.bench.timing import Timing
from nnlab.bench.training import TrainingStep
from tests.bench.test_sensors import Library

CPU = get_backend("cpu")
ARRAY_CODE: list[Problem] = [
    MaxPool2d("test", "pool", 2, 3, 9, 3, 2, 1),
    MaxPool2d("test", "pool", 2, 3, 8, 2, 2),
    LocalResponseNorm("test", "norm", 2, 7, 4),
    LocalResponseNorm("test", "norm", 2, 7, 4, size=4),
    CrossEntropy("test", "loss", 4, 9),
    OptimizerStep("test", "step", ((3, 4), (5,))),
    LSTM("test", "lstm", 5, 3, 4, 6, layers=2),
]
PASSES = [(problem, part) for problem in ARRAY_CODE for part in problem.parts]


class Card(CpuBackend):
    """Takes the way of a GPU through the bench, over NumPy's arrays."""

    host_memory = False
    emptied = 0

    def asarray(self, host: np.ndarray) -> np.ndarray:
        return host.copy()

    def elapsed(self, call: Callable[[], Any]) -> float:
        call()
        return 1e-3

    def empty_cache(self) -> None:
        self.emptied += 1


@pytest.fixture(autouse=True)
def _no_model_is_kept() -> Iterator[None]:
    yield
    training._drawn.cache_clear()


def peer(be: Any) -> Any:
    pytest.importorskip("torch")
    from nnlab.bench.peer import Peer

    return Peer(be)


@pytest.mark.parametrize(("problem", "part"), PASSES, ids=[f"{p.op}-{p.shape()}-{part}" for p, part in PASSES])
def test_array_code_computes_the_same(problem: Problem, part: str) -> None:
    """Three calls, since an optimizer has a state."""
    host = problem.draw(np.random.default_rng(3))
    copies = [{name: array.copy() for name, array in host.items()} for _ in range(2)]
    theirs, ours = problem.arrays(np, part, copies[0]), problem.ours(CPU, part, copies[1])
    assert theirs is not None
    for _ in range(3):
        np.testing.assert_allclose(theirs(), ours(), rtol=1e-10, atol=1e-12)


@pytest.mark.torch
def test_array_code_of_the_weights_of_an_lstm() -> None:
    """The bench shows the gradient to the input alone; the others cost time too and must be right."""
    torch = pytest.importorskip("torch")
    problem = LSTM("test", "lstm", 5, 3, 4, 6)
    host = problem.draw(np.random.default_rng(3))
    kept = problem._run(np, host, host["x"])[1][0]
    found = problem._run_back(np, host, 0, host["dy"], *kept)
    layer = torch.nn.LSTM(4, 6, dtype=torch.float64)
    layer.load_state_dict({name: torch.from_numpy(host[name]) for name, _ in layer.named_parameters()})
    layer(torch.from_numpy(host["x"]))[0].backward(torch.from_numpy(host["dy"]))
    for mine, name in zip(found[1:], ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0"), strict=True):
        np.testing.assert_allclose(mine, getattr(layer, name).grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("part", ["forward", "backward"])
def test_array_code_of_dropout(part: str) -> None:
    ones = np.ones((50, 60), np.float32)
    call = Dropout("test", "drop", 50, 60, p=0.25).arrays(np, part, {"x": ones, "dy": ones})
    found = call()
    assert set(np.unique(found)) == {np.float32(0), np.float32(4 / 3)} and found.dtype == np.float32
    assert 0.2 < (found == 0).mean() < 0.3


@pytest.mark.torch
@pytest.mark.parametrize(
    "problem",
    [*ARRAY_CODE, Linear("test", "fc", 3, 5, 7), Conv2d("test", "conv", 2, 4, 6, 9, 3, padding=1)],
    ids=lambda p: f"{p.op}-{p.shape()}",
)
def test_the_way_of_a_gpu(problem: Problem) -> None:
    """Both layouts, array code where there is some, errors beside PyTorch's float64."""
    be = Card()
    code = ["cupy"] if problem in ARRAY_CODE else []
    for row in rows(be, [problem], "float32", peer(be), 0.0):
        assert row.notes == {} and row.others == {}
        assert list(row.peers) == ["torch NCHW", "torch channels_last", *code]
        assert row.ours is not None
        for side in (row.ours, *row.peers.values()):
            assert side.error is not None and side.error < 2e-6 and side.timing.median == 1e-3
            if problem.op != "max_pool2d":
                assert side.error > 0
    assert be.emptied == 1


@pytest.mark.torch
def test_whole_steps_have_other_precisions_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    be = Card()
    monkeypatch.setattr(nnlab.backend, "_backend", lambda kind, index: be)
    other = peer(be)
    matmul, seen = other.torch.backends.cuda.matmul, []
    monkeypatch.setattr(type(other), "tf32", lambda self, call: lambda: (seen.append("tf32"), call())[1])
    monkeypatch.setattr(other.torch, "compile", lambda model: (seen.append("compile"), model)[1])
    (row,) = rows(be, [TrainingStep("lenet5", "training", 2, 1, 28, 10)], "float32", other, 0.0, compiled=True)
    assert row.notes == {}
    assert list(row.peers) == ["torch NCHW", "torch channels_last", "torch channels_last compile"]
    assert list(row.others) == ["torch channels_last tf32", "torch channels_last bf16"]
    half, single = row.others["torch channels_last bf16"].error, row.peers["torch NCHW"].error
    assert half is not None and single is not None and half > 100 * single
    assert seen[0] == "compile" and seen.count("tf32") > 5 and not matmul.allow_tf32


@pytest.mark.torch
def test_tf32_is_allowed_during_the_call_alone() -> None:
    other = peer(CPU)
    backends = other.torch.backends
    now = lambda: (backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32)  # noqa: E731
    assert now() == (False, False)
    assert other.tf32(now)() == (True, True)
    with pytest.raises(ZeroDivisionError):
        other.tf32(lambda: 1 / 0)()
    assert now() == (False, False)


@pytest.mark.torch
def test_a_compiler_that_fails_costs_its_own_side(monkeypatch: pytest.MonkeyPatch) -> None:
    other = peer(CPU)

    def fails(model: Any) -> Any:
        raise RuntimeError("no compiler\nwas found")

    monkeypatch.setattr(other.torch, "compile", fails)
    (row,) = rows(CPU, [TrainingStep("lenet5", "training", 2, 1, 28, 10)], "float32", other, 0.0, compiled=True)
    assert list(row.peers) == ["torch"] and row.notes == {"torch compile": "RuntimeError: no compiler"}
    assert row.ratio is not None and not row.failed


@pytest.mark.torch
def test_a_failing_operation_loses_its_own_numbers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    other, ours = peer(CPU), Linear.ours

    def fails(self: Linear, be: Any, part: str, arrays: Any) -> Any:
        if part == "input_grad" and arrays["x"].dtype == np.float32:
            raise FloatingPointError("it broke")
        return ours(self, be, part, arrays)

    monkeypatch.setattr(Linear, "ours", fails)
    found = list(rows(CPU, [Linear("test", "fc", 3, 5, 7)], "float32", other, 0.0))
    assert [row.failed for row in found] == [False, True, False]
    assert found[1].ours is None and found[1].ratio is None and list(found[1].peers) == ["torch"]
    assert found[1].notes == {"nnlab": "FloatingPointError: it broke"}


@pytest.mark.torch
def test_what_fails_on_a_card_fails_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel's failure is told at the next synchronisation, and is ours, not PyTorch's."""

    class Late(Card):
        failed = False

        def synchronize(self) -> None:
            if self.failed:
                self.failed = False
                raise RuntimeError("an illegal memory access")

    be, ours = Late(), Linear.ours

    def fails(self: Linear, be: Any, part: str, arrays: Any) -> Any:
        be.failed = True
        return ours(self, be, part, arrays)

    monkeypatch.setattr(Linear, "ours", fails)
    for row in rows(be, [Linear("test", "fc", 3, 5, 7)], "float32", peer(be), 0.0):
        assert row.notes == {"nnlab": "RuntimeError: an illegal memory access"} and len(row.peers) == 2


def test_a_failure_while_timing_is_everybodys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure.timing, "interleave", lambda *_: 1 / 0)
    (row, *_) = rows(CPU, [Linear("test", "fc", 3, 5, 7)], "float32", None, 0.0)
    assert row.notes == {"nnlab": "ZeroDivisionError: division by zero"} and row.failed


@pytest.mark.torch
def test_no_reference_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    be = Card()
    other = peer(be)

    def full(*_: Any) -> Any:
        raise MemoryError("out of memory")

    monkeypatch.setattr(type(other), "exact", full)
    (row, *_) = rows(be, [Linear("test", "fc", 3, 5, 7)], "float32", other, 0.0)
    assert row.notes == {"error": "MemoryError: out of memory"}
    assert row.ours is not None and row.ours.error is None and row.peers["torch NCHW"].error is None


@pytest.mark.torch
def test_peers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of ours runs on the device, on a GPU not even for the reference."""
    be = Card()
    monkeypatch.setattr(Linear, "ours", None)
    for row in rows(be, [Linear("test", "fc", 3, 5, 7)], "float32", peer(be), 0.0, ours=False):
        assert row.ours is None and not row.failed and row.notes == {}
        assert all(side.error is not None and side.error < 1e-6 for side in row.peers.values())


def test_only_some_passes() -> None:
    problem = Linear("test", "fc", 3, 5, 7)
    assert [row.part for row in rows(CPU, [problem], "float32", None, 0.0, parts=["weight_grad"])] == ["weight_grad"]


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types(dtype: str) -> None:
    """Both libraries get the same rounded numbers; the reference is of these."""
    pytest.importorskip("ml_dtypes", reason="bfloat16 of NumPy")
    be = Card()
    for row in rows(be, [Linear("test", "fc", 8, 16, 9)], dtype, peer(be), 0.0):
        assert row.notes == {} and row.ours is not None and row.dtype == dtype and "cupy" not in row.peers
        assert row.bytes == 2 * (8 * 16 + 8 * 9 + 16 * 9)
        for side in (row.ours, *row.peers.values()):
            assert side.error is not None and 1e-5 < side.error < 2.0**-7


@pytest.mark.torch
def test_without_its_library_bfloat16_is_the_peers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from nnlab.errors import MissingExtraError

    be = Card()
    other = peer(be)

    def missing(name: str) -> Any:
        raise MissingExtraError("no ml_dtypes")

    monkeypatch.setattr(inputs.types, "as_dtype", missing)
    for row in rows(be, [Linear("test", "fc", 8, 16, 9)], "bfloat16", other, 0.0):
        assert row.notes == {"nnlab": "MissingExtraError: no ml_dtypes"} and len(row.peers) == 2


def test_bfloat16_is_rounded_to_the_nearest() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 of NumPy")
    x = np.random.default_rng(0).standard_normal(10000).astype(np.float32)
    x[:4] = np.float32(1 + 2**-8), np.float32(1 + 3 * 2**-8), 0.0, -0.0  # two ties
    found = inputs.rounded(CPU, x, "bfloat16")
    np.testing.assert_array_equal(found, x.astype(ml_dtypes.bfloat16).astype(np.float32))


def test_large_arrays_for_a_gpu_repeat_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "BLOCK", 7)
    found = inputs.drawn(Card(), Linear("test", "fc", 2, 5, 3), 0, "float32")
    x = found[0]["x"].reshape(-1)
    assert x.shape == (10,) and x.dtype == np.float32
    np.testing.assert_array_equal(x[:3], x[7:])
    assert len(set(x[:7])) == 7 and not np.array_equal(found[0]["x"], found[1]["x"])
    lstm = inputs.drawn(Card(), LSTM("test", "lstm", 5, 3, 4, 16), 0, "float32")[0]
    assert np.abs(lstm["weight_ih_l0"]).max() <= 0.25 and lstm["weight_ih_l0"].min() < 0 < lstm["weight_ih_l0"].max()


def test_readings_are_kept_and_steps_have_their_energy() -> None:
    library = Library()
    sensors = Sensors(library, library.handle)
    (row,) = rows(CPU, [TrainingStep("lenet5", "training", 4, 1, 28, 10)], "float32", None, 0.0, sensors=sensors)
    assert row.readings["celsius"] == [51, 51] and row.throttled
    per_call = row.readings["joules_per_call"]
    assert list(per_call) == ["nnlab"] and per_call["nnlab"] > 0
    assert row.readings["joules_per_image"] == {"nnlab": per_call["nnlab"] / 4}
    (other, *_) = rows(CPU, [Linear("test", "fc", 3, 5, 7)], "float32", None, 0.0, sensors=sensors)
    assert "joules_per_call" not in other.readings and other.readings["joules"] > 0
    assert not dataclasses.replace(row, readings={}).throttled


def test_ceilings_of_a_gpu_are_of_larger_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "COPY", 1 << 12)
    monkeypatch.setattr(ceilings, "SIDE", 8)
    for be, copied, side in ((CPU, 1 << 12, 8), (Card(), 1 << 15, 32)):
        monkeypatch.setattr(ceilings.timing, "interleave", lambda *_: [Timing(1.0, 0.0, 1.0, 3, (1.0,))])
        assert ceilings.measure(be, "float32", None) == Ceilings(2 * copied, 2 * side**3)
