"""Where NaN or infinity came from.

A training step is a pure function of the weights, the batch and the state of the random generator, so that it can be
replayed: here with a look at every module's output, and then at every gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from nnlab.autograd import Tensor
from nnlab.nn import Module
from nnlab.types import is_floating


def describe(array: np.ndarray) -> str:
    """``12 NaN and 3 infinite of 4096 values``."""
    return f"{int(np.isnan(array).sum())} NaN and {int(np.isinf(array).sum())} infinite of {array.size} values"


def _host(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


def is_bad(tensor: Any) -> bool:
    """Whether a floating tensor holds NaN or infinity (a synchronising look on a GPU)."""
    return (
        isinstance(tensor, Tensor)
        and is_floating(tensor.dtype)
        and not np.isfinite(tensor.detach().cpu().numpy()).all()
    )


def first_bad(named: Iterable[tuple[str, Tensor]]) -> str | None:
    """The name of the first tensor that holds NaN or infinity."""
    return next((name for name, tensor in named if is_bad(tensor)), None)


def gradients(model: Module) -> Iterator[tuple[str, Tensor]]:
    """The gradients that are there, by the parameters' names, the last layer's first."""
    return ((name, p.grad) for name, p in reversed(list(model.named_parameters())) if p.grad is not None)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [t for item in value for t in _tensors(item)] if isinstance(value, list | tuple) else []


class _Watch:
    """Follows a forward pass and remembers the first module whose output is not finite."""

    def __init__(self, model: Module) -> None:
        self.model = model
        self.found: str | None = None
        self.outputs: list[tuple[str, Tensor]] = []
        self.bad_gradients: list[int] = []

    def __enter__(self) -> _Watch:
        self._handles = [
            module.register_forward_hook(self._hook(f"[{path or 'model'} {type(module).__name__}]"))
            for path, module in self.model.named_modules()
        ]
        return self

    def __exit__(self, *exc: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _hook(self, label: str) -> Callable[..., None]:
        def look(module: Module, args: Any, output: Any) -> None:
            for tensor in _tensors(output):
                if self.found is None and is_bad(tensor):
                    given = [_host(t) for t in _tensors(args) if is_floating(t.dtype)]
                    largest = max((float(np.abs(array).max(initial=0.0)) for array in given), default=0.0)
                    self.found = (
                        f"{label} its output holds {describe(_host(tensor))}; "
                        f"its input was finite, at most {largest:.3g} in size"
                    )
                if tensor.requires_grad:
                    tensor.register_hook(partial(self._look_back, len(self.outputs)))
                    self.outputs.append((label, tensor))

        return look

    def _look_back(self, place: int, gradient: Tensor) -> None:
        if is_bad(gradient):
            self.bad_gradients.append(place)


def find_culprit(model: Module, loss: Callable[[Tensor, Tensor], Tensor], images: Tensor, target: Tensor) -> str:
    """Replay one batch and name the first layer that makes NaN or infinity.

    The caller restores the random generator before. Gradients of the model are left as the replay made them.

    Args:
        model: in the mode (training or evaluation) in which the trouble arose.
        loss: called as ``loss(model(images), target)``.
        images, target: the batch, on the model's device.

    Returns:
        A sentence that begins with the layer, e.g. ``[features.3 Conv2d] its output holds 2 NaN ...``.
    """
    if is_bad(images):
        return f"[data] the batch of images already holds {describe(_host(images))}"
    # In training, running statistics are results: the bad step itself may have spoilt them.
    bad = first_bad([*model.named_parameters(), *([] if model.training else model.named_buffers())])
    if bad is not None:
        return f"[{bad}] the weights already hold NaN or infinity"
    with np.errstate(all="ignore"), _Watch(model) as watch:
        output = model(images)
        if watch.found is not None:
            return watch.found
        value = loss(output, target)
        if is_bad(value):
            largest = float(np.abs(_host(output)).max())
            return f"[loss] the loss is {value.item()}; the network's output was finite, at most {largest:.3g} in size"
        if not value.requires_grad:
            return "[model] the replayed batch gave a finite loss: the trouble does not repeat"
        model.zero_grad()
        value.backward()
        if watch.bad_gradients:
            place = max(watch.bad_gradients)
            after = watch.outputs[place + 1][0] if place + 1 < len(watch.outputs) else "[loss]"
            return f"{after} its backward pass makes a gradient with NaN or infinity"
        bad = first_bad(gradients(model))
        if bad is not None:
            return f"[{bad}] its gradient holds NaN or infinity"
    return "[model] the replayed batch was finite throughout: the trouble does not repeat"
