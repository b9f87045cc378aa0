"""Linear classifiers of one layer: logistic and softmax regression, fitted to the optimum.

Both losses are convex, so the result depends on the data alone. A row of the weights is a template that an image is
compared with: ``model.weight.reshape(classes, height, width)`` shows what the classifier looks for.

Source: Bishop, "Pattern recognition and machine learning", 2006, section 4.3.
"""

from __future__ import annotations

from collections.abc import Callable

from nnlab import Tensor, nn, no_grad, optim
from nnlab.errors import ArgumentError, ShapeError, complaint


def logistic_regression(x: Tensor, target: Tensor, *, penalty: float = 0.0, iterations: int = 1000) -> nn.Linear:
    """The layer with P(1 | x) = sigmoid(w x + b) that makes the classes likeliest.

    It minimises ``-mean(t log P + (1 - t) log(1 - P)) + penalty / 2 * |w|^2`` by L-BFGS from zero; b is free. The
    gradient of the first part is ``-mean((t - P) x)``.

    Args:
        x: samples (N, m), floating.
        target: (N,), 0 and 1.
        penalty: not negative; without it, weights of classes that a hyperplane separates grow without end.
        iterations: at most so many.

    Returns:
        Linear(m, 1) of x's dtype and device.

    Raises:
        ArgumentError: penalty is negative, or a target is neither 0 nor 1.
        ShapeError: the shapes do not fit.
    """
    _check("logistic_regression", x, target, penalty, {0, 1})
    loss = nn.functional.binary_cross_entropy_with_logits
    t = target.to(dtype=x.dtype)
    return _fit(x, 1, lambda scores: loss(scores[:, 0], t), penalty, iterations)


def softmax_regression(
    x: Tensor, target: Tensor, classes: int, *, penalty: float = 0.0, iterations: int = 1000
) -> nn.Linear:
    """The layer with P(class | x) = softmax(W x + b) that makes the classes likeliest.

    It minimises ``-mean(log P(target | x)) + penalty / 2 * |W|^2`` by L-BFGS from zero; b is free.

    Args:
        x: samples (N, m), floating.
        target: (N,), integers 0 .. classes - 1.
        classes: C.
        penalty, iterations: as in :func:`logistic_regression`.

    Returns:
        Linear(m, C) of x's dtype and device.

    Raises:
        ArgumentError: penalty is negative, or a target is no class.
        ShapeError: the shapes do not fit.
    """
    _check("softmax_regression", x, target, penalty, set(range(classes)))
    return _fit(x, classes, lambda scores: nn.functional.cross_entropy(scores, target), penalty, iterations)


def _check(name: str, x: Tensor, target: Tensor, penalty: float, classes: set[int]) -> None:
    if x.ndim != 2 or len(x) == 0:
        raise ShapeError(complaint(name, "x", "have shape (N, m) with N > 0", tuple(x.shape)))
    if tuple(target.shape) != (len(x),):
        raise ShapeError(complaint(name, "target", f"have shape ({len(x)},)", tuple(target.shape)))
    if not penalty >= 0:
        raise ArgumentError(complaint(name, "penalty", "not be negative", penalty))
    if not set(target.tolist()) <= classes:
        raise ArgumentError(complaint(name, "target", f"be in 0..{len(classes) - 1}", sorted(set(target.tolist()))))


def _fit(x: Tensor, outputs: int, loss: Callable[[Tensor], Tensor], penalty: float, iterations: int) -> nn.Linear:
    model = nn.Linear(x.shape[1], outputs, dtype=x.dtype, device=x.device)
    with no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    optimizer = optim.LBFGS(
        model.parameters(), max_iter=iterations, tolerance_grad=1e-9, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(model(x)) + penalty / 2 * (model.weight * model.weight).sum()
        value.backward()
        return value

    optimizer.step(closure)
    return model
