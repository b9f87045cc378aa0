"""What happens to signals on their way through the layers: their size, forth and back, and units that died."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from nnlab.autograd import Tensor, grad
from nnlab.errors import ShapeError, complaint
from nnlab.nn.module import Module

Function = Callable[[np.ndarray], np.ndarray]


def mean_squares(layers: Iterable[Module], x: Tensor, gradient: Tensor) -> tuple[list[float], list[float]]:
    """Mean square of each layer's output, and of the gradient with respect to it.

    Args:
        layers: called one after another, for example a ``Sequential``.
        x: input of the first layer.
        gradient: with respect to the last layer's output, of its shape.

    Returns:
        Two lists with a number for each layer.
    """
    outputs: list[Tensor] = []
    for layer in layers:
        x = layer(x)
        outputs.append(x)
    gradients = [g for g in grad(outputs[-1], outputs, gradient) if g is not None]
    forth, back = ([float((t.detach() ** 2).mean()) for t in some] for some in (outputs, gradients))
    return forth, back


def expected_mean_squares(
    sizes: Sequence[int], stds: Sequence[float], function: Function, slope: Function, *, first: float = 1.0
) -> tuple[list[float], list[float]]:
    """What :func:`mean_squares` gives for wide dense layers y = function(W x) whose weights are N(0, std squared).

    In the limit of infinite width the sums z = W x are normal, so that with the mean square q of a layer's input

        E z^2 = n_in std^2 q,    q' = E function(z)^2,

    and backwards, with the mean square g' of the gradient with respect to the layer's output,

        g = n_out std^2 E slope(z)^2 g'.

    The integrals over the normal distribution are taken by quadrature on each side of 0, so that a bend there costs no
    accuracy.

    Args:
        sizes: number of inputs, then of each layer's outputs.
        stds: of each layer's weights; one fewer than sizes.
        function, slope: the activation and its derivative, on arrays.
        first: mean square of the input.

    Returns:
        For each layer the mean square of its output; and of the gradient with respect to it, that of the last being 1.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010
    (linear units); He et al., "Delving deep into rectifiers", ICCV 2015 (ReLU); Poole et al., "Exponential expressivity
    in deep neural networks through transient chaos", NIPS 2016 (any function).
    """
    if len(stds) != len(sizes) - 1:
        raise ShapeError(complaint("expected_mean_squares", "stds", f"have {len(sizes) - 1} numbers", list(stds)))
    forth, ahead, q = [], [], first
    for fan_in, std in zip(sizes, stds, strict=False):
        deviation = std * math.sqrt(fan_in * q)
        q = _mean_square(function, deviation)
        ahead.append(_mean_square(slope, deviation))
        forth.append(q)
    back = [1.0]
    for layer in range(len(stds) - 1, 0, -1):
        back.append(float(sizes[layer + 1] * stds[layer] ** 2 * ahead[layer] * back[-1]))
    return forth, back[::-1]


def _mean_square(f: Function, deviation: float) -> float:
    """E f(deviation z)^2 for a standard normal z."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    z = 5 * (nodes + 1)  # 0 .. 10; the rest weighs 1e-23
    density = 5 * weights * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return float((density * (f(deviation * z) ** 2 + f(-deviation * z) ** 2)).sum())


def dead_units(activation: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Which units pass no gradient to their inputs, whatever the sample: they can learn no more.

    Args:
        activation: works on each element alone.
        z: (N, units, *spatial) what the activation is applied to, for all samples.

    Returns:
        bool (units,): the activation's slope is 0 everywhere.
    """
    if z.ndim < 2:
        raise ShapeError(complaint("dead_units", "z", "have shape (N, units, *spatial)", tuple(z.shape)))
    leaf = z.detach().requires_grad_()
    (slopes,) = grad(activation(leaf).sum(), leaf)
    assert slopes is not None
    still = (slopes == 0).movedim(1, 0).flatten(1)
    return still.all(1)
