"""A multilayer perceptron and back-propagation written out, as it stands in textbooks.

A network is a list of weights (n, m + 1), one a layer, the biases in column 0. It is here to be read and to be compared
with automatic differentiation, which gives the same gradients.

Source: Rumelhart, Hinton, Williams, "Learning representations by back-propagating errors", Nature 323, 1986.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import nnlab
from nnlab import Tensor
from nnlab.classic.neuron import neurons, with_bias
from nnlab.errors import ArgumentError, ShapeError, complaint

# Each activation, and its derivative as a function of its output y.
ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "linear": (lambda u: u, nnlab.ones_like),
    "relu": (lambda u: u.relu(), lambda y: (y > 0).to(dtype=y.dtype)),
    "sigmoid": (nnlab.sigmoid, lambda y: y * (1 - y)),
    "tanh": (nnlab.tanh, lambda y: 1 - y * y),
}


def forward(x: Tensor, weights: Sequence[Tensor], activations: Sequence[str]) -> list[Tensor]:
    """Signals go forward: ``y(l) = phi(W(l) y(l-1))`` with y(0) = x and y0 = 1.

    Args:
        x: samples (N, m).
        weights: (n, m + 1) for each layer.
        activations: a name of ``ACTIVATIONS`` for each layer.

    Returns:
        y(0) .. y(L), each (N, n).

    Raises:
        ArgumentError: an activation is unknown, or not one is named for each layer.
        ShapeError: a layer does not fit the one before.
    """
    if len(weights) != len(activations) or not set(activations) <= set(ACTIVATIONS):
        must = f"be {len(weights)} names out of {', '.join(ACTIVATIONS)}"
        raise ArgumentError(complaint("backprop", "activations", must, list(activations)))
    outputs = [x]
    for w, name in zip(weights, activations, strict=True):
        outputs.append(neurons(outputs[-1], w, ACTIVATIONS[name][0]))
    return outputs


def loss(y: Tensor, d: Tensor) -> Tensor:
    """The empirical error ``1/N sum over samples of |d - y|^2``."""
    return ((d - y) * (d - y)).sum() / len(d)


def gradients(x: Tensor, d: Tensor, weights: Sequence[Tensor], activations: Sequence[str]) -> list[Tensor]:
    """Errors go backward: the gradient of :func:`loss` with respect to each layer's weights.

    With e = d - y(L), each layer's error is::

        delta(L) = phi'(L) e
        delta(l) = phi'(l) W(l+1)^T delta(l+1)      without the column of the biases

    and its gradient ``-2/N sum over samples of delta(l) y(l-1)^T``. No autograd is used.

    Args:
        x: samples (N, m).
        d: desired outputs (N, n).
        weights, activations: as in :func:`forward`.

    Returns:
        One gradient of the shape of each layer's weights.

    Raises:
        ArgumentError, ShapeError: as :func:`forward`; d does not fit the outputs.
    """
    with nnlab.no_grad():
        outputs = forward(x, weights, activations)
        if d.shape != outputs[-1].shape:
            raise ShapeError(complaint("backprop", "d", f"have shape {tuple(outputs[-1].shape)}", tuple(d.shape)))
        found: list[Tensor] = []
        error = d - outputs[-1]
        for layer in reversed(range(len(weights))):
            delta = ACTIVATIONS[activations[layer]][1](outputs[layer + 1]) * error
            found.append(delta.T @ with_bias(outputs[layer]) * (-2 / len(x)))
            error = delta @ weights[layer][:, 1:]
        return found[::-1]
