"""Evaluation of a network over a loader."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from nnlab.autograd import Tensor, no_grad
from nnlab.autograd.shape import cat
from nnlab.errors import DataError, NonFiniteError
from nnlab.nn import Module
from nnlab.train.metrics import accuracy, confusion_matrix, softmax
from nnlab.train.nonfinite import find_culprit


@dataclass
class Evaluation:
    """What a pass over a loader found.

    Attributes:
        loss: mean over the examples.
        outputs: the network's outputs ``(N, ...)``, in the loader's order.
        target: ``(N, ...)``.
        seconds: wall time.
    """

    loss: float
    outputs: np.ndarray
    target: np.ndarray
    seconds: float

    @property
    def is_classification(self) -> bool:
        return self.outputs.ndim == 2 and self.target.ndim == 1 and self.target.dtype.kind in "iu"

    @property
    def accuracy(self) -> float | None:
        """Share of right answers, None if this is no classification."""
        return accuracy(self.outputs, self.target) if self.is_classification else None

    @property
    def top5(self) -> float | None:
        """Share of examples whose class is among the five most likely, None if this is no classification."""
        return accuracy(self.outputs, self.target, 5) if self.is_classification else None

    @property
    def predicted(self) -> np.ndarray:
        return self.outputs.argmax(axis=1)

    def confusion(self) -> np.ndarray:
        """Counts ``(C, C)``: row the true class, column the predicted one."""
        return confusion_matrix(self.predicted, self.target, self.outputs.shape[1])

    def worst(self, n: int) -> list[tuple[int, int, int, float]]:
        """The n most confident mistakes: place in the loader's order, true class, predicted class, its probability."""
        wrong = np.flatnonzero(self.predicted != self.target)
        probability = softmax(self.outputs[wrong]).max(axis=1) if wrong.size else np.empty(0)
        order = np.argsort(-probability, kind="stable")[:n]
        return [
            (int(wrong[i]), int(self.target[wrong[i]]), int(self.predicted[wrong[i]]), float(probability[i]))
            for i in order
        ]


def evaluate(
    model: Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    loss: Callable[[Tensor, Tensor], Tensor],
    device: Any = "cpu",
    limit: int | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Evaluation:
    """Run a model in evaluation mode over batches of ``(images, target)``.

    Args:
        model: its mode is restored afterwards.
        batches: may be iterated again if something is not finite.
        loss: mean over a batch; called as ``loss(model(images), target)``.
        device: where the model is.
        limit: at most so many batches.
        on_batch: called after each batch with the number of examples in it.

    Raises:
        DataError: there is no batch.
        NonFiniteError: the loss is NaN or infinite; the message names the first layer that makes it so.
    """
    before, started = model.training, time.perf_counter()
    model.eval()
    outputs: list[Tensor] = []
    targets: list[np.ndarray] = []
    losses: list[Tensor] = []
    try:
        with no_grad():
            for images, target in islice(batches, limit):
                images, target = images.to(device), target.to(device)
                output = model(images)
                losses.append(loss(output, target).detach() * target.shape[0])
                outputs.append(output.detach())
                targets.append(target.cpu().numpy())
                if on_batch is not None:
                    on_batch(target.shape[0])
            if not outputs:
                raise DataError("[evaluate] there is no batch to evaluate")
            total = np.asarray([float(value.item()) for value in losses])
            if not np.isfinite(total).all():
                place = int(np.flatnonzero(~np.isfinite(total))[0])
                images, target = next(islice(batches, place, None))
                culprit = find_culprit(model, loss, images.to(device), target.to(device))
                raise NonFiniteError(f"{culprit} (evaluation, batch {place})")
            target_array = np.concatenate(targets)
            return Evaluation(
                loss=float(total.sum() / len(target_array)),
                outputs=cat(outputs).cpu().numpy(),
                target=target_array,
                seconds=time.perf_counter() - started,
            )
    finally:
        model.train(before)
