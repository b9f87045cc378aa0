"""Layers and losses as a table: name, constructor arguments and inputs, for every test that runs all of them.

A row of the table is one call ``layer(*inputs)``. ``test_cases.py`` compares it with PyTorch, with numbers kept in
``golden.json``, with finite differences, with itself on other memory and on other devices. A family of layers has its
rows in a list of its own: activations and losses here, the others in ``layer_cases.py`` and ``sequence_cases.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.nn.case import Case, Input, classes, given, normal, positive, signs, unit
from tests.nn.layer_cases import LAYERS
from tests.nn.sequence_cases import SEQUENCES


def _activation(name: str, *args: Any, shape: tuple[int, ...] = (3, 4), **kwargs: Any) -> Case:
    return Case(name, (normal(*shape),), args, kwargs)


ACTIVATIONS = [
    _activation("ReLU"),
    _activation("ReLU6", shape=(4, 5, 2)),
    _activation("LeakyReLU"),
    _activation("LeakyReLU", 0.3, shape=(5,)),
    _activation("PReLU"),
    _activation("PReLU", shape=(5,)),
    _activation("PReLU", shape=()),
    _activation("PReLU", 4, 0.4),
    _activation("PReLU", 3, shape=(2, 3, 4, 5)),
    _activation("RReLU", 0.2, 0.2),
    _activation("ELU"),
    _activation("ELU", 0.7),
    _activation("SELU"),
    _activation("SELU", shape=()),
    _activation("CELU"),
    _activation("CELU", 0.5),
    _activation("CELU", alpha=-2.0),
    _activation("GELU"),
    _activation("GELU", shape=(2, 3, 4)),
    _activation("GELU", approximate="tanh"),
    _activation("SiLU"),
    _activation("Mish"),
    _activation("Hardswish"),
    _activation("Softplus"),
    _activation("Softplus", 3.0, 2.0),
    _activation("Softplus", beta=-0.5),
    _activation("Threshold", 0.3, -1.5),
    _activation("Sigmoid"),
    _activation("Tanh"),
    _activation("LogSigmoid"),
    # PyTorch's gradient multiplies by a sixth rounded to float32.
    _activation("Hardsigmoid")._replace(tolerance=2.0**-24),
    _activation("Hardtanh"),
    _activation("Hardtanh", -2.0, 0.5),
    _activation("Softsign"),
    _activation("Tanhshrink"),
    _activation("Hardshrink"),
    _activation("Hardshrink", 1.2),
    _activation("Softshrink"),
    _activation("Softshrink", 1.2, shape=(2, 3, 2)),
    _activation("Softmax", 1),
    _activation("Softmax", dim=0, shape=(3, 4, 2)),
    _activation("Softmin", -1),
    _activation("Softmin", 0, shape=(6,)),
    _activation("LogSoftmax", -1),
    _activation("Softmax2d", shape=(2, 3, 2, 4)),
    _activation("Softmax2d", shape=(3, 2, 4))._replace(batch=None),
    _activation("GLU"),
    _activation("GLU", 1, shape=(2, 4, 3)),
    _activation("GLU", 0, shape=(6,)),
    *[
        _activation(name, *args, shape=(5,))
        for name, args in (
            *((name, ()) for name in ("ReLU", "ReLU6", "ELU", "CELU", "GELU", "SiLU", "Mish", "Hardswish", "Softplus")),
            *((name, ()) for name in ("Sigmoid", "Tanh", "LogSigmoid", "Hardtanh", "Softsign", "Tanhshrink")),
            *((name, ()) for name in ("Hardshrink", "Softshrink")),
            *(("Softmax", (0,)), ("LogSoftmax", (0,)), ("Threshold", (0.3, -1.5)), ("RReLU", (0.2, 0.2))),
        )
    ],
    _activation("Hardsigmoid", shape=(5,))._replace(tolerance=2.0**-24),
]


def _reduced(name: str, inputs: tuple[Input, ...], *args: Any, **kwargs: Any) -> list[Case]:
    """A loss with each of its reductions."""
    names = ["mean", "sum", "none"] + ["batchmean"] * (name == "KLDivLoss")
    exact = name != "GaussianNLLLoss" or "eps" not in kwargs
    return [Case(name, inputs, args, {**kwargs, "reduction": reduction}, exact=exact) for reduction in names]


def _score_losses() -> list[Case]:
    """Scores for classes: one sample, a batch, positions of a line and of a plane."""
    weight = np.array([0.5, 2.0, 1.0, 0.25])
    rows = []
    for shape in ((5, 4), (4,), (2, 4, 3), (2, 4, 3, 2)):
        number = classes(4, *shape[:1], *shape[2:]) if len(shape) > 1 else classes(4)
        for name, scores in (("CrossEntropyLoss", "normal"), ("NLLLoss", "log")):
            given = (Input(scores, shape), number)
            rows += _reduced(name, given)
            rows += _reduced(name, given, weight=weight)
            rows += _reduced(name, given, weight=weight, ignore_index=1) if len(shape) > 1 else []
        given = (normal(*shape), number)
        rows += _reduced("CrossEntropyLoss", given, weight=weight, label_smoothing=0.3, ignore_index=2)
        given = (normal(*shape), Input("distribution", shape))
        rows += _reduced("CrossEntropyLoss", given)
        rows += _reduced("CrossEntropyLoss", given, weight=weight, label_smoothing=0.2)
    for shape in ((5, 4), (4,)):
        given = (normal(*shape), classes(4, *shape[:-1]))
        rows += _reduced("MultiMarginLoss", given)
        rows += _reduced("MultiMarginLoss", given, 2, 0.4, weight)
        rows += _reduced("MultiLabelMarginLoss", (normal(*shape), Input("lists", shape, 4)))
    return rows


def _binary_losses() -> list[Case]:
    weight, high = np.array([0.5, 2.0, 1.0, 0.25]), np.array([1.5, 0.2, 3.0, 1.0])
    rows = []
    for shape in ((3, 4), (4,)):
        rows += _reduced("BCELoss", (unit(*shape), unit(*shape)))
        rows += _reduced("BCELoss", (unit(*shape), unit(*shape)), weight)
        rows += _reduced("BCEWithLogitsLoss", (normal(*shape), unit(*shape)))
        rows += _reduced("BCEWithLogitsLoss", (normal(*shape), unit(*shape)), weight, pos_weight=high)
        rows += _reduced("SoftMarginLoss", (normal(*shape), signs(*shape)))
        rows += _reduced("MultiLabelSoftMarginLoss", (normal(*shape), unit(*shape)))
        rows += _reduced("MultiLabelSoftMarginLoss", (normal(*shape), unit(*shape)), weight)
        rows += _reduced("HingeEmbeddingLoss", (normal(*shape), signs(*shape)))
        rows += _reduced("HingeEmbeddingLoss", (positive(*shape), signs(*shape)), 2.5)
    return rows


def _regression_losses() -> list[Case]:
    rows = []
    for shape in ((3, 4), (2, 3, 2), (4,), ()):
        pair = (normal(*shape), normal(*shape))
        rows += _reduced("MSELoss", pair)
        rows += _reduced("L1Loss", pair)
        rows += _reduced("SmoothL1Loss", pair)
        rows += _reduced("SmoothL1Loss", pair, beta=0.5)
        rows += _reduced("SmoothL1Loss", pair, beta=0)
        rows += _reduced("HuberLoss", pair)
        rows += _reduced("HuberLoss", pair, delta=2.3)
        rows += _reduced("PoissonNLLLoss", (normal(*shape), positive(*shape)))
        rows += _reduced("PoissonNLLLoss", (positive(*shape), positive(*shape)), False, True, eps=1e-3)
        rows += _reduced("GaussianNLLLoss", (*pair, positive(*shape)))
        rows += _reduced("GaussianNLLLoss", (*pair, positive(*shape)), full=True, eps=1.0)
    for shape in ((3, 4), (4,)):
        rows += _reduced("KLDivLoss", (Input("log", shape), Input("distribution", shape)))
        rows += _reduced("KLDivLoss", (Input("log", shape), Input("log", shape)), log_target=True)
    rows += _reduced("GaussianNLLLoss", (normal(3, 4), normal(3, 4), positive(3, 1)))
    rows += _reduced("GaussianNLLLoss", (normal(3, 4), normal(3, 4), positive(3)), full=True)
    rows += _reduced("GaussianNLLLoss", (normal(2, 3, 4), normal(2, 3, 4), positive(2, 1, 4)))
    return rows


def _distances() -> list[Case]:
    rows = [
        Case("CosineSimilarity", (normal(3, 4), normal(3, 4))),
        Case("CosineSimilarity", (normal(3, 4, 2), normal(4, 2)), kwargs={"dim": -1}),
        Case("CosineSimilarity", (normal(4), normal(4)), kwargs={"dim": 0, "eps": 5.0}, exact=False),
        Case("PairwiseDistance", (normal(3, 4), normal(3, 4))),
        Case("PairwiseDistance", (normal(4), normal(4))),
        Case("PairwiseDistance", (normal(3, 4), normal(4)), kwargs={"p": 1.0, "keepdim": True}),
        Case("PairwiseDistance", (normal(3, 4), normal(1, 4)), kwargs={"p": 3.5, "eps": 0.1}),
        Case("PairwiseDistance", (normal(3, 4), normal(3, 4)), kwargs={"p": float("inf")}),
    ]
    for lead in ((5,), ()):
        vectors = normal(*lead, 4)
        rows += _reduced("CosineEmbeddingLoss", (vectors, vectors, signs(*lead)))
        rows += _reduced("CosineEmbeddingLoss", (vectors, vectors, signs(*lead)), -0.3)
        rows += _reduced("TripletMarginLoss", (vectors, vectors, vectors))
        rows += _reduced("TripletMarginLoss", (vectors, vectors, vectors), 6.0, 3.0, 1e-3, True)
        rows += _reduced("TripletMarginWithDistanceLoss", (vectors, vectors, vectors), margin=5.0, swap=True)
    for shape in ((3, 4), (4,)):
        rows += _reduced("MarginRankingLoss", (normal(*shape), normal(*shape), signs(*shape)))
        rows += _reduced("MarginRankingLoss", (normal(*shape), normal(*shape), signs(*shape)), 1.5)
    return rows


def _sequence_losses() -> list[Case]:
    """Through a log_softmax, where both libraries' gradients mean the same; no labels, equal labels, too many."""

    def scores(x: Any, *others: Any) -> tuple[Any, ...]:
        return (x.log_softmax(-1), *others)

    labels = np.array([[1, 3, 3, 4], [4, 1, 0, 0], [3, 3, 3, 0], [1, 0, 0, 0]])
    heard, spoken = [8, 7, 5, 6], [4, 2, 3, 0]
    joined = np.concatenate([row[:n] for row, n in zip(labels, spoken, strict=True)])
    tables: list[tuple[tuple[int, ...], Any, Any, Any, dict[str, Any]]] = [
        ((8, 4, 5), labels, heard, spoken, {}),
        ((8, 4, 5), joined, heard, spoken, {"blank": 2}),
        ((8, 4, 5), labels, [2, 7, 5, 6], spoken, {"zero_infinity": True}),
        ((8, 5), labels[0], 8, 4, {}),
    ]
    return [
        case._replace(prepare=scores, batch=None)
        for shape, *others, options in tables
        for case in _reduced("CTCLoss", (normal(*shape), *map(given, others)), **options)
    ]


_RARE = given(np.array([9, 0, 2, 7, 3, 8, 0]))  # a class of each cluster

ADAPTIVE = [
    Case("AdaptiveLogSoftmaxWithLoss", (normal(7, 16), _RARE), (16, 10, [3, 7])),
    Case("AdaptiveLogSoftmaxWithLoss", (normal(7, 6), _RARE), (6, 10, [2]), {"div_value": 1.7, "head_bias": True}),
    Case("AdaptiveLogSoftmaxWithLoss", (normal(6), given(1)), (6, 10, [3, 7], 2.0), batch=None),
    Case("AdaptiveLogSoftmaxWithLoss", (normal(6), given(8)), (6, 10, [3], 2.0), batch=None),
]

LOSSES = _score_losses() + _binary_losses() + _regression_losses() + _distances() + _sequence_losses() + ADAPTIVE

CASES = ACTIVATIONS + LOSSES + LAYERS + SEQUENCES
