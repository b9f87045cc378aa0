"""Layers and losses as a table: name, constructor arguments and inputs, for every test that runs all of them.

A row of the table is one call ``layer(*inputs)``. ``test_cases.py`` compares it with PyTorch, with numbers kept in
``golden.json``, with finite differences, with itself on other memory and on other devices. A family of layers has its
rows in a list of its own.
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import numpy as np


class Input(NamedTuple):
    """An input of a layer, drawn anew wherever it is needed.

    kind: 'normal', 'unit' (between 0 and 1, away from both), 'positive', 'signs' (-1 and 1), 'distribution' (positive,
    sum 1 along axis 1, or of a vector), 'log' (its logarithm), 'classes' (integers below ``below``),
    'lists' (rows of different class numbers below ``below``, ended by -1).
    """

    kind: str
    shape: tuple[int, ...]
    below: int = 0
    grad: bool = True

    def draw(self, random: np.random.Generator) -> np.ndarray:
        return np.asarray(_KINDS[self.kind](self, random))

    @property
    def takes_gradient(self) -> bool:
        return self.grad and self.kind not in ("signs", "classes", "lists")


def _distribution(spec: Input, random: np.random.Generator) -> np.ndarray:
    raw = random.uniform(0.1, 1.0, spec.shape)
    return raw / raw.sum(min(1, len(spec.shape) - 1), keepdims=True)


def _lists(spec: Input, random: np.random.Generator) -> np.ndarray:
    rows = np.full(spec.shape, -1)
    for row in rows.reshape(-1, spec.shape[-1]):
        count = random.integers(0, spec.shape[-1] + 1)
        row[:count] = random.permutation(spec.below)[:count]
    return rows


_KINDS: dict[str, Any] = {
    "normal": lambda spec, random: random.standard_normal(spec.shape) * 2,
    "unit": lambda spec, random: random.uniform(0.02, 0.98, spec.shape),
    "positive": lambda spec, random: random.uniform(0.1, 4.0, spec.shape),
    "signs": lambda spec, random: random.choice([-1.0, 1.0], spec.shape),
    "distribution": _distribution,
    "log": lambda spec, random: np.log(_distribution(spec, random)),
    "classes": lambda spec, random: random.integers(0, spec.below, spec.shape),
    "lists": _lists,
}


class Case(NamedTuple):
    """One row: the layer's name in ``nn``, its arguments (arrays become tensors) and its inputs.

    tolerance: how far PyTorch may be away.
    exact: whether the gradient is the derivative; that of a limit ``eps`` passes below it.
    """

    name: str
    inputs: tuple[Input, ...]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    tolerance: float = 1e-10
    exact: bool = True

    @property
    def id(self) -> str:
        given = [_word(a) for a in self.args] + [f"{k}={_word(v)}" for k, v in self.kwargs.items()]
        return f"{self.name}({', '.join(given)})-" + "-".join("x".join(map(str, i.shape)) or "0d" for i in self.inputs)

    def draw(self) -> list[np.ndarray]:
        """The inputs: the same every time."""
        random = np.random.default_rng(zlib.crc32(self.id.encode()))
        return [spec.draw(random) for spec in self.inputs]

    def with_batch(self, size: int) -> Case:
        """The row with another first dimension of every input."""
        return self._replace(inputs=tuple(i._replace(shape=(size, *i.shape[1:])) for i in self.inputs))


def _word(value: Any) -> str:
    return "array" + "x".join(map(str, value.shape)) if isinstance(value, np.ndarray) else repr(value)


def normal(*shape: int, grad: bool = True) -> Input:
    return Input("normal", shape, grad=grad)


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
    _activation("Softmax2d", shape=(3, 2, 4)),
    _activation("GLU"),
    _activation("GLU", 1, shape=(2, 4, 3)),
    _activation("GLU", 0, shape=(6,)),
]


def unit(*shape: int, grad: bool = True) -> Input:
    return Input("unit", shape, grad=grad)


def positive(*shape: int, grad: bool = True) -> Input:
    return Input("positive", shape, grad=grad)


def signs(*shape: int) -> Input:
    return Input("signs", shape)


def classes(below: int, *shape: int) -> Input:
    return Input("classes", shape, below)


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


LOSSES = _score_losses() + _binary_losses() + _regression_losses() + _distances()

CASES = ACTIVATIONS + LOSSES
