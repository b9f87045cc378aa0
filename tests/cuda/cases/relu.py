"""relu."""

from __future__ import annotations

import numpy as np

from nnlab.ops._cuda import relu as kernels
from tests.cuda import drawn
from tests.cuda.case import Case
from tests.cuda.far import FAR, FarCase
from tests.oracles import activation as oracle

SHAPES = [(), (1,), (0, 3), (3, 4, 5), (257,), (700,)]
SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149, "float64": 2.0**-1074}


def _values(case: Case, *shape: int) -> np.ndarray:
    """Numbers of both signs, among them zeros of both signs, NaN, infinities and the smallest of each sign."""
    tiny = SMALLEST[case.dtype.name]
    special = case.random.choice([0.0, -0.0, np.nan, np.inf, -np.inf, tiny, -tiny], shape)
    return case.host(np.where(case.random.random(shape) < 0.5, special, case.random.standard_normal(shape)))


def both_passes(case: Case) -> None:
    _both_passes(case, SHAPES)


def standard(case: Case) -> None:
    _both_passes(case, [(2, 8, 10, 10)])


def _both_passes(case: Case, shapes: list[tuple[int, ...]]) -> None:
    for shape in shapes:
        x, dy = _values(case, *shape), _values(case, *shape)
        y = kernels.forward(case.be, x=case.put(x))
        case.compare(y, None, oracle.relu, x)
        case.compare(kernels.backward(case.be, dy=case.put(dy), y=y), None, oracle.relu_grad, dy, oracle.relu(x))
        assert not np.signbit(case.be.to_numpy(y)).any(where=oracle.relu(x) == 0)


def channels_last(case: Case) -> None:
    """Also where the gradient is not."""
    x, dy = _values(case, 3, 40, 4, 5), _values(case, 3, 40, 4, 5)
    y = kernels.forward(case.be, x=case.put(drawn.channels_last(x)))
    case.compare(y, None, oracle.relu, x)
    for gradient in (dy, drawn.channels_last(dy)):
        dx = kernels.backward(case.be, dy=case.put(gradient), y=y)
        case.compare(dx, None, oracle.relu_grad, dy, oracle.relu(x))


def far_elements(case: FarCase) -> None:
    x, dy = case.sparse(FAR + 5), case.sparse(FAR + 5)
    x[-5:], dy[-5:] = case.normal(5), case.normal(5)
    y = kernels.forward(case.be, x=x)
    case.compare(y[-5:], None, oracle.relu, x[-5:])
    dx = kernels.backward(case.be, dy=dy, y=y)
    case.compare(dx[-5:], None, oracle.relu_grad, dy[-5:], oracle.relu(x[-5:]))
