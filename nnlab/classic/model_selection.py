"""Which model to take: cross-validation, search over hyper-parameters, and least squares with a prior.

Splits and grids are scikit-learn's (extra ``demo``). Early stopping is :class:`nnlab.train.EarlyStopping`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nnlab
from nnlab import Tensor
from nnlab.errors import ArgumentError, ShapeError, complaint, optional_import

Score = Callable[[Any, Tensor, Tensor], float]


def cross_validate(
    x: Tensor, target: Tensor, fit: Callable[..., Any], score: Score, *, folds: int = 5, seed: int = 0
) -> NDArray[np.float64]:
    """Every sample is held back once: a model is fitted to all folds but one and scored on that one, for each fold.

    Args:
        x: samples (N, ...).
        target: (N, ...).
        fit: ``fit(x, target)`` returns a new model.
        score: ``score(model, x, target)`` of the samples held back.
        folds: k, 2..N; sizes differ by at most one. k = N is leave-one-out, in the samples' order.
        seed: which samples make a fold is a function of it.

    Returns:
        The scores (folds,).

    Raises:
        ArgumentError: folds is not in 2..N.
        MissingExtraError: scikit-learn is not installed.
    """
    if not 2 <= folds <= len(x):
        raise ArgumentError(complaint("cross_validate", "folds", f"be in 2..{len(x)}", folds))
    selection = optional_import("sklearn.model_selection", extra="demo", purpose="cross-validation")
    alone = folds == len(x)
    splits = selection.LeaveOneOut() if alone else selection.KFold(folds, shuffle=True, random_state=seed)
    scores = []
    for kept, held in splits.split(np.zeros(len(x))):
        a, b = nnlab.tensor(kept, device=x.device), nnlab.tensor(held, device=x.device)
        scores.append(float(score(fit(x[a], target[a]), x[b], target[b])))
    return np.array(scores)


@dataclass(frozen=True)
class Candidate:
    """Hyper-parameters that :func:`search` tried, and their scores of the folds."""

    parameters: dict[str, Any]
    scores: NDArray[np.float64]

    @property
    def mean(self) -> float:
        return float(self.scores.mean())


def search(
    parameters: Mapping[str, Sequence[Any]],
    x: Tensor,
    target: Tensor,
    fit: Callable[..., Any],
    score: Score,
    *,
    draws: int | None = None,
    folds: int = 5,
    seed: int = 0,
) -> list[Candidate]:
    """Hyper-parameters by the mean of their cross-validated scores, all of them on the same folds.

    Args:
        parameters: name -> values to try.
        x, target, score, folds, seed: as in :func:`cross_validate`.
        fit: ``fit(x, target, **parameters)`` returns a new model.
        draws: try so many combinations, drawn without repetition; None: all of them (the grid).

    Returns:
        What was tried, the highest mean first.

    Raises:
        ArgumentError, MissingExtraError: as :func:`cross_validate`; draws is not positive.
    """
    if draws is not None and draws < 1:
        raise ArgumentError(complaint("model_selection.search", "draws", "be positive", draws))
    selection = optional_import("sklearn.model_selection", extra="demo", purpose="searching hyper-parameters")
    grid = selection.ParameterGrid(parameters)
    if draws is not None and draws < len(grid):
        grid = selection.ParameterSampler(parameters, draws, random_state=seed)
    tried = [
        Candidate(chosen, cross_validate(x, target, partial(fit, **chosen), score, folds=folds, seed=seed))
        for chosen in grid
    ]
    return sorted(tried, key=lambda candidate: -candidate.mean)


def ridge(x: Tensor, target: Tensor, gamma: float = 0.0) -> Tensor:
    """The weights that minimise ``|target - x w|^2 + gamma |w|^2``, in closed form.

    With gamma = 0 they are the maximum likelihood estimate for targets with Gaussian noise; with gamma = (deviation of
    the noise / deviation of the weights)^2 the maximum a posteriori estimate for weights drawn from a Gaussian around
    0. Gradient descent on ``|target - x w|^2 / 2`` with ``weight_decay=gamma`` ends at the same place.

    Source: Bishop, "Pattern recognition and machine learning", 2006, section 3.1.

    Args:
        x: samples (N, m); every weight is penalised, so a bias is best taken out of the data before.
        target: (N,) or (N, k).
        gamma: not negative; with 0 and x of lower rank than m, the shortest of the weights that fit equally well.

    Returns:
        (m,) or (m, k), solved in float64 on the host, of x's dtype and device.

    Raises:
        ArgumentError: gamma is negative.
        ShapeError: the shapes do not fit.
    """
    if not gamma >= 0:
        raise ArgumentError(complaint("ridge", "gamma", "not be negative", gamma))
    if x.ndim != 2 or target.ndim not in (1, 2) or len(target) != len(x):
        got = (tuple(x.shape), tuple(target.shape))
        raise ShapeError(complaint("ridge", "x, target", "have shapes (N, m) and (N,) or (N, k)", got))
    a, b = (t.detach().cpu().numpy().astype(np.float64) for t in (x, target))
    # Least squares over the samples and, for each weight, one that asks it to be 0.
    a = np.concatenate([a, np.sqrt(gamma) * np.eye(a.shape[1])])
    b = np.concatenate([b, np.zeros((x.shape[1], *b.shape[1:]))])
    return nnlab.tensor(np.linalg.lstsq(a, b, rcond=None)[0], dtype=x.dtype, device=x.device)
