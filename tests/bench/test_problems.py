"""The problems of the bench: counts against the networks, results against PyTorch's."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab.backend import emulated, get_backend
from nnlab.bench.conv import Conv2d, ConvTranspose2d
from nnlab.bench.dense import Linear
from nnlab.bench.measure import rows
from nnlab.bench.pointwise import CrossEntropy, Dropout, LocalResponseNorm
from nnlab.bench.pool import MaxPool2d
from nnlab.bench.problem import Problem
from nnlab.bench.recurrent import LSTM
from nnlab.bench.shapes import SETS
from nnlab.bench.step import OptimizerStep
from nnlab.bench.training import GRAPHS, TRAINING, CharacterStep, TrainingStep
from nnlab.models import create

CPU = get_backend("cpu")
SMALL: list[Problem] = [
    Conv2d("test", "conv", 2, 4, 6, (9, 8), (3, 2), stride=2, padding=1, groups=2),
    ConvTranspose2d("test", "up", 2, 6, 4, 5, 3, stride=2, padding=1, groups=2, output_padding=1),
    MaxPool2d("test", "pool", 2, 3, 9, 3, 2, 1),
    Linear("test", "fc", 3, 5, 7),
    LocalResponseNorm("test", "norm", 2, 7, 4),
    CrossEntropy("test", "loss", 4, 9),
    OptimizerStep("test", "step", ((3, 4), (5,))),
    TrainingStep("lenet5", "training", 2, 1, 28, 10),
    CharacterStep("char_lstm", "training", 2, 5, 6, 2, 7),
    Dropout("test", "drop", 3, 40),
    LSTM("test", "lstm", 5, 3, 4, 6, layers=2),
]
NAMES = [f"{problem.op} {problem.layer}" for problem in SMALL]


@pytest.mark.parametrize(("network", "total", "convolutions"), [("alexnet", 1.428, 1.311), ("vgg16", 30.941, 30.693)])
def test_operations_of_whole_networks(network: str, total: float, convolutions: float) -> None:
    """GFLOP of a forward pass of one image, as published counts of multiply-adds (0.714 and 15.47 G) give them."""
    layers = [p for p in SETS[network](1) if p.op in ("conv2d", "linear")]
    flops = {p.name: p.cost("forward", 4).flops / 1e9 for p in layers}
    assert sum(flops.values()) == pytest.approx(total, abs=5e-4)
    assert sum(flops[p.name] for p in layers if p.op == "conv2d") == pytest.approx(convolutions, abs=5e-4)


@pytest.mark.parametrize("network", ["alexnet", "vgg16"])
def test_the_layers_are_the_networks(network: str) -> None:
    weights = [tuple(p.shape) for p in create(network).parameters()]
    problems = SETS[network](3)
    assert next(p.shapes for p in problems if isinstance(p, OptimizerStep)) == tuple(weights)
    shapes = [p.geometry.y_shape for p in problems if isinstance(p, Conv2d | MaxPool2d)]
    assert all(shape[0] == 3 for shape in shapes)
    classifier = next(p for p in problems if isinstance(p, Linear))
    last = next(p for p in reversed(problems) if isinstance(p, MaxPool2d))
    assert prod(last.geometry.y_shape[1:]) == classifier.inputs


def test_bytes_are_counted_once() -> None:
    conv = Conv2d("test", "conv", 2, 3, 4, 5, 3)
    assert conv.cost("forward", 4).bytes == 4 * (2 * 3 * 25 + 4 * 3 * 9 + 2 * 4 * 9)
    assert conv.cost("weight_grad", 2).flops == 2 * (2 * 4 * 9) * (3 * 9)
    assert MaxPool2d("test", "pool", 1, 1, 4, 2, 2).cost("forward", 4).bytes == 4 * (16 + 4) + 4


def test_every_shape_is_possible() -> None:
    for name, make in SETS.items():
        for problem in make(2):
            assert problem.cost(problem.parts[0], 4).bytes > 0, name
            assert problem.shape()


@pytest.mark.torch
@pytest.mark.parametrize("problem", SMALL, ids=NAMES)
def test_rows_agree_with_pytorch(problem: Problem) -> None:
    pytest.importorskip("torch")
    from nnlab.bench.peer import Peer

    for row in rows(CPU, [problem], "float64", Peer(CPU), 0.0):
        assert list(row.peers) == ["torch"]
        for side in (row.ours, row.peers["torch"]):
            assert side.timing.count == 3 and side.timing.median > 0
            assert side.error is None if problem.op == "dropout" else side.error is not None and side.error < 1e-12
        assert row.key[:4] == (problem.op, row.part, problem.network, problem.layer)


@pytest.mark.parametrize("problem", SMALL, ids=NAMES)
def test_rows_without_a_peer(problem: Problem) -> None:
    """float32 beside float64: an error that is not 0, and small."""
    found = list(rows(CPU, [problem], "float32", None, 0.0))
    assert [row.part for row in found] == list(problem.parts)
    for row in found:
        assert not row.peers and row.ratio is None
        if problem.op not in ("dropout", "max_pool2d"):
            assert row.ours.error is not None and 0 < row.ours.error < 1e-5


def test_a_wrong_result_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is fast by being wrong is seen to be wrong."""
    problem = SMALL[3]
    ours = Linear.ours

    def wrong(self: Linear, be: Any, part: str, arrays: Any) -> Any:
        factor = 1.01 if arrays["x"].dtype == np.float32 else 1.0
        return lambda: ours(self, be, part, arrays)() * factor

    monkeypatch.setattr(Linear, "ours", wrong)
    assert all(row.ours.error > 5e-3 for row in rows(CPU, [problem], "float32", None, 0.0))


def test_training_without_dropout_is_the_network() -> None:
    step = TrainingStep("alexnet", "training", 1, 3, 64, 10)
    model = step._model()
    assert [m.p for m in model.modules() if isinstance(m, nnlab.nn.Dropout)] == [0.0, 0.0]
    assert TrainingStep("alexnet", "training", 128, 3, 224, 1000).cost("step", 4).flops == pytest.approx(
        128 * 4.145e9, rel=2e-3
    )


def test_operations_of_the_character_model() -> None:
    """As the sizes of its matrices give them: three products of each weight with 64 x 32 columns."""
    weights = 4 * 256 * (65 + 256) + 4 * 256 * (256 + 256) + 256 * 65
    update = 6 * (weights + 2 * 2 * 4 * 256 + 65)
    flops = CharacterStep("char_lstm", "training", 32).cost("step", 4).flops
    assert flops == 3 * 2 * weights * 64 * 32 + update


@pytest.mark.skipif(emulated.why_unusable() is not None, reason="kernels cannot run on this CPU")
def test_a_step_as_a_graph_gives_the_same_losses() -> None:
    be: Any = get_backend("emulated")
    found = []
    for problem in (TRAINING["lenet5"](4), GRAPHS["lenet5"](4)):
        host = problem.draw(np.random.default_rng(1))
        arrays = {name: be.asarray(a.astype(np.float32) if a.dtype.kind == "f" else a) for name, a in host.items()}
        call = problem.ours(be, "step", arrays)
        found.append([float(call()) for _ in range(3)])
    assert found[0] == found[1]
    assert len(set(found[0])) == 3
