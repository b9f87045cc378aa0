"""Gradient descent as the field began with it: the path of the weights, and the rule that trained AlexNet.

Full batch, mini-batch and online learning differ in the batches alone: all samples, some, or one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from nnlab.autograd import Tensor, no_grad
from nnlab.errors import ArgumentError, complaint
from nnlab.nn.utils import parameters_to_vector
from nnlab.optim import SGD, Newton, Optimizer
from nnlab.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from nnlab.optim.optimizer import Parameters


def path(
    loss_of: Callable[..., Tensor],
    optimizer: Optimizer,
    batches: Iterable[tuple[Tensor, ...]],
    schedule: LRScheduler | None = None,
) -> np.ndarray:
    """Where an optimizer takes its parameters: one update a batch.

    Args:
        loss_of: called with the tensors of a batch, returns the loss (a 0-d tensor).
        optimizer: any of ``nnlab.optim``, also those that ask for a closure.
        batches: for example a ``DataLoader``, or the same full batch again and again.
        schedule: stepped after each update.

    Returns:
        float64 array (updates + 1, elements): all parameters as one vector, at the start and after each update.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def here() -> np.ndarray:
        with no_grad():
            return parameters_to_vector(parameters).cpu().numpy().astype(np.float64)

    points = [here()]
    for batch in batches:

        def closure(batch: tuple[Tensor, ...] = batch) -> Tensor:
            loss = loss_of(*batch)
            if not isinstance(optimizer, Newton):  # differentiates the loss itself
                optimizer.zero_grad()
                loss.backward()
            return loss

        optimizer.step(closure)
        if schedule is not None:
            schedule.step()
        points.append(here())
    return np.stack(points)


def alexnet_rule(parameters: Parameters, patience: int = 10) -> tuple[SGD, ReduceLROnPlateau]:
    """Optimizer and schedule of the 2012 AlexNet, for batches of 128 samples.

    For each weight w with the mean gradient g of a batch,

        v <- 0.9 v - 0.0005 e w - e g,    w <- w + v,

    at first with e = 0.01, which is divided by 10 when the validation error has stopped improving: call the schedule's
    ``step(error)`` after each epoch. ``SGD`` keeps -v / e instead of v. That is the same while e stays; after a change
    of e the paper's v goes on as it was, SGD's is at once smaller by as much as e (:func:`keep_velocity`).

    Args:
        parameters: as an optimizer takes them.
        patience: how many epochs without improvement are borne; the paper's authors decided by eye.

    Source: Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks", NIPS 2012,
    section 5.
    """
    optimizer = SGD(parameters, lr=0.01, momentum=0.9, weight_decay=0.0005)
    return optimizer, ReduceLROnPlateau(optimizer, factor=0.1, patience=patience)


def keep_velocity(optimizer: SGD, before: float) -> None:
    """After a change of rate, make the step that ``SGD`` takes by momentum as long as it was.

    Multiplies each momentum buffer by ``before`` / present rate, so that the update goes on as in the AlexNet paper,
    where the rate scales the gradients that come, not those that are summed up already.

    Args:
        before: the rate of all groups until now.

    Raises:
        ArgumentError: a rate is not positive.
    """
    for group in optimizer.param_groups:
        for name, rate in (("before", before), ("lr", group["lr"])):
            if not rate > 0:
                raise ArgumentError(complaint("keep_velocity", name, "be positive", rate))
        for p in group["params"]:
            buffer: Any = optimizer.state.get(p, {}).get("momentum_buffer")
            if buffer is not None:
                buffer.mul_(before / group["lr"])
