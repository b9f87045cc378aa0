"""Evaluation of a network over a loader."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from nnlab.autograd import Tensor, no_grad
from nnlab.autograd.shape import cat
from nnlab.backend import get_backend
from nnlab.errors import DataError, NonFiniteError
from nnlab.nn import Module
from nnlab.train import carried
from nnlab.train.metrics import accuracy, confusion_matrix, softmax
from nnlab.train.nonfinite import find_culprit
from nnlab.train.sums import Sums, examples
from nnlab.types import wide


@dataclass
class Evaluation:
    """What a pass over a loader found.

    Attributes:
        loss: mean over the examples.
        accuracy: share of right answers, None if this is no classification.
        examples: their number; each class number of a target ``(N, ...)`` is one.
        outputs: the network's outputs ``(N, ...)``, in the loader's order.
        target: ``(N, ...)``. It and the outputs are left out (shape ``(0,)``) if there are several class numbers for
            an input, which would fill the memory.
        seconds: wall time.
    """

    loss: float
    accuracy: float | None
    examples: int
    outputs: np.ndarray
    target: np.ndarray
    seconds: float

    @property
    def is_classification(self) -> bool:
        """Whether each input has one class."""
        return self.outputs.ndim == 2 and self.target.ndim == 1 and self.target.dtype.kind in "iu"

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
        model: its mode is restored afterwards, and so is state that it carries from batch to batch, which begins anew.
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
    sums = Sums(get_backend(device).device)
    outputs: list[Tensor] = []
    targets: list[np.ndarray] = []
    losses: list[Tensor] = []
    try:
        with no_grad(), carried.fresh(model):
            for images, target in islice(batches, limit):
                images, target = images.to(device), target.to(device)
                output = model(images)
                losses.append(loss(output, target).detach())
                sums.add(losses[-1], output, target)
                if target.ndim == 1 or target.dtype.kind not in "iu":
                    outputs.append(output.detach().to(dtype=wide(output.dtype)))
                    targets.append(target.cpu().numpy())
                if on_batch is not None:
                    on_batch(examples(target))
            if not losses:
                raise DataError("[evaluate] there is no batch to evaluate")
            if not math.isfinite(sums.loss):
                place = next(i for i, value in enumerate(losses) if not math.isfinite(value.item()))
                raise NonFiniteError(f"{_replay(model, batches, loss, device, place)} (evaluation, batch {place})")
            return Evaluation(
                loss=sums.loss,
                accuracy=sums.accuracy,
                examples=sums.examples,
                outputs=cat(outputs).cpu().numpy() if outputs else np.empty(0),
                target=np.concatenate(targets) if targets else np.empty(0),
                seconds=time.perf_counter() - started,
            )
    finally:
        model.train(before)


def _replay(
    model: Module, batches: Iterable[tuple[Tensor, Tensor]], loss: Callable[..., Tensor], device: Any, place: int
) -> str:
    """What makes the loss of a batch NaN or infinite."""
    carried.reset(model)
    for i, (images, target) in enumerate(batches):
        images, target = images.to(device), target.to(device)
        if i == place:
            break
        if any(module.carried for module in model.modules()):
            model(images)
    return find_culprit(model, loss, images, target)
