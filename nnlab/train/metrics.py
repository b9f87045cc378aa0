"""Metrics of classification, over NumPy arrays."""

from __future__ import annotations

import numpy as np

from nnlab.errors import ArgumentError, ShapeError, complaint


def top_k(logits: np.ndarray, k: int) -> np.ndarray:
    """The k largest entries' places, best first; of equal entries the earlier one comes first.

    Args:
        logits: ``(N, C)``.
        k: how many; no more than C are returned.

    Returns:
        int64 ``(N, min(k, C))``.
    """
    if logits.ndim != 2:
        raise ShapeError(complaint("top_k", "logits", "have shape (N, C)", logits.shape))
    if k < 1:
        raise ArgumentError(complaint("top_k", "k", "be positive", k))
    return np.argsort(-logits, axis=1, kind="stable")[:, :k]


def accuracy(logits: np.ndarray, target: np.ndarray, k: int = 1) -> float:
    """Share of rows whose target is among the k largest logits.

    Args:
        logits: ``(N, C)``.
        target: int ``(N,)``.
        k: 1 for accuracy, 5 for top-5.
    """
    return float((top_k(logits, k) == target[:, None]).any(axis=1).mean())


def confusion_matrix(predicted: np.ndarray, target: np.ndarray, classes: int) -> np.ndarray:
    """Counts ``(C, C)``: row the true class, column the predicted one.

    Args:
        predicted: int ``(N,)``.
        target: int ``(N,)``.
        classes: C.
    """
    for name, labels in (("predicted", predicted), ("target", target)):
        if labels.size and not 0 <= labels.min() <= labels.max() < classes:
            span = (int(labels.min()), int(labels.max()))
            raise ArgumentError(complaint("confusion_matrix", name, f"lie in 0..{classes - 1}", span))
    flat = np.bincount(target.astype(np.int64) * classes + predicted.astype(np.int64), minlength=classes * classes)
    return flat.reshape(classes, classes)


def per_class(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision of each class, ``(C,)`` each; NaN for a class that never occurs, or is never predicted."""
    hits = np.diag(confusion).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return hits / confusion.sum(axis=1), hits / confusion.sum(axis=0)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of each row, in float64: ``exp(x - max) / sum``."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
