"""Perceptron learning: one step neuron that is corrected where it errs.

Sources: Rosenblatt, "The perceptron", Psychological Review 65, 1958; Hebb, "The organization of behavior", 1949;
Novikoff, "On convergence proofs on perceptrons", 1962.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import nnlab
from nnlab import Tensor
from nnlab.classic.neuron import step
from nnlab.errors import ArgumentError, ShapeError, complaint
from nnlab.random import host_generator

Rule = Callable[[Tensor, Tensor], Tensor]


def error_correction(u: Tensor, d: Tensor) -> Tensor:
    """``d - y`` with the answer ``y = step(u)`` and the desired answer d, 0 or 1: what the input is multiplied by."""
    return d - step(u)


def hebbian(u: Tensor, t: Tensor) -> Tensor:
    """t, -1 or +1, where the sign of u (+1 at 0) is another one, else 0: ``w_i = w_i + lr * x_i * t`` after a mistake.

    It is the downhill gradient of ``E(w) = -sum of t * u over the misclassified``, their distances from the boundary.
    """
    return t * (2 * step(u) - 1 != t).to(dtype=t.dtype)


_TARGETS: dict[Rule, tuple[int, int]] = {error_correction: (0, 1), hebbian: (-1, 1)}


@dataclass(frozen=True)
class Run:
    """What :func:`learn` did.

    Attributes:
        path: the weights (K + 1, m): at first, and after each of the K updates.
        corrections: misclassified samples in these updates; K of them where each sample is an update.
        passes: passes over the samples, with the last one that changed nothing.
        converged: whether there was such a pass.
    """

    path: Tensor
    corrections: int
    passes: int
    converged: bool

    @property
    def w(self) -> Tensor:
        """The last weights (m,)."""
        return self.path[-1]


def learn(
    x: Tensor,
    target: Tensor,
    w: Tensor | None = None,
    *,
    rule: Rule = error_correction,
    lr: float = 1.0,
    batch_size: int = 1,
    max_passes: int = 1000,
    seed: int | None = None,
) -> Run:
    """Until a pass over all samples changes nothing: ``w = w + lr * sum over a batch of rule(w x, target) * x``.

    Args:
        x: samples (N, m); :func:`nnlab.classic.neuron.with_bias` gives the neuron a bias.
        target: (N,), 0 and 1 for ``error_correction``, -1 and +1 for ``hebbian``.
        w: first weights (m,); default zeros.
        rule: :func:`error_correction` or :func:`hebbian`.
            Another rule is called as these are: ``rule(u, target)`` with the sums u = w x.
        lr: learning rate.
        batch_size: 1: an update after each sample; N: one a pass; else mini-batches, the last one may be smaller.
        max_passes: samples that no hyperplane separates would never come to an end.
        seed: draws the order anew for each pass; None: the order given.

    Raises:
        ArgumentError: lr, batch_size or max_passes is not positive, or a target is not one of the rule's.
        ShapeError: the shapes do not fit.
    """
    for name, value in (("lr", lr), ("batch_size", batch_size), ("max_passes", max_passes)):
        if not value > 0:
            raise ArgumentError(complaint("perceptron.learn", name, "be positive", value))
    if x.ndim != 2 or len(x) == 0:
        raise ShapeError(complaint("perceptron.learn", "x", "have shape (N, m) with N > 0", tuple(x.shape)))
    if tuple(target.shape) != (len(x),):
        raise ShapeError(complaint("perceptron.learn", "target", f"have shape ({len(x)},)", tuple(target.shape)))
    given, known = set(target.tolist()), _TARGETS.get(rule)
    if known is not None and not given <= set(known):
        raise ArgumentError(complaint("perceptron.learn", "target", "hold {} and {}".format(*known), sorted(given)))
    w = x.new_zeros(x.shape[1]) if w is None else w.detach()
    if tuple(w.shape) != (x.shape[1],):
        raise ShapeError(complaint("perceptron.learn", "w", f"have shape ({x.shape[1]},)", tuple(w.shape)))
    target = target.to(dtype=x.dtype)
    path, corrections = [w], 0
    for number in range(max_passes):
        if seed is not None:
            order = nnlab.tensor(host_generator(seed, number, 0, 2).permutation(len(x)), device=x.device)
            x, target = x[order], target[order]
        before = corrections
        for start in range(0, len(x), batch_size):
            part = x[start : start + batch_size]
            error = rule(part @ w, target[start : start + batch_size])
            wrong = int((error != 0).sum())
            if wrong:
                w = w + lr * (error @ part)
                path.append(w)
                corrections += wrong
        if corrections == before:
            return Run(nnlab.stack(path), corrections, number + 1, True)
    return Run(nnlab.stack(path), corrections, max_passes, False)


def bound(x: Tensor, d: Tensor, w: Tensor) -> float:
    """Novikoff's limit (R / margin)^2 to the corrections of a perceptron that starts at zero, whatever its rate.

    R is the largest length of a sample, the margin the smallest distance of a sample from the hyperplane of w. With
    batches of B samples the limit is B times as large: k corrections at once lengthen w^2 by at most (k R)^2 instead
    of k R^2.

    Args:
        x: samples (N, m).
        d: classes (N,), 0 and 1.
        w: weights (m,) that separate them.

    Raises:
        ArgumentError: w does not separate the samples.
    """
    side = (2 * d.to(dtype=x.dtype) - 1) * (x @ w)
    margin = float(side.min()) / float(w.norm())
    if not margin > 0:
        raise ArgumentError(complaint("perceptron.bound", "w", "separate the samples", w.tolist()))
    return float((x * x).sum(1).max()) / margin**2
