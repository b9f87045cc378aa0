"""Automatic mixed precision: ``autocast`` (also ``nnlab.autocast``), and ``GradScaler`` for float16."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from nnlab.autograd import Tensor, no_grad
from nnlab.autograd.amp import autocast, is_autocast_enabled
from nnlab.autograd.shape import stack
from nnlab.backend import Device
from nnlab.errors import ArgumentError, CheckpointError, DtypeError, GraphError, complaint
from nnlab.optim import Optimizer
from nnlab.types import float16, wide

__all__ = ["GradScaler", "autocast", "is_autocast_enabled"]

# The numbers of a state, by PyTorch's names.
_FIELDS = {
    "scale": "_scale",
    "growth_factor": "_growth_factor",
    "backoff_factor": "_backoff_factor",
    "growth_interval": "_growth_interval",
    "_growth_tracker": "_growth_tracker",
}
_LARGEST = float(np.finfo(np.float32).max)


class GradScaler:
    """Scales a loss, so that small gradients do not vanish in float16, and skips steps whose gradients overflow.

    >>> scaler.scale(loss).backward()
    >>> scaler.unscale_(optimizer)  # only where something is done with the gradients before the step
    >>> nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    >>> scaler.step(optimizer)
    >>> scaler.update()

    After a step with infinite or NaN gradients, which is skipped, the scale is multiplied by ``backoff_factor``; after
    ``growth_interval`` steps without any, by ``growth_factor``. With powers of two the scaling itself rounds nothing.

    The scale is a number on the host. Whether gradients are finite is found out on their device and read once for each
    step of an optimizer; nothing else waits for a GPU.

    Args:
        device: type of the devices, for programs written for PyTorch: a scaler works wherever the gradients are.
        init_scale: the scale at the beginning.
        growth_factor: above 1.
        backoff_factor: below 1.
        growth_interval: number of steps in a row.
        enabled: with False all methods pass their arguments on: no scaling, no check.

    Raises:
        ArgumentError, DeviceError: an argument makes no sense.

    Source: Micikevicius et al., "Mixed precision training", ICLR 2018.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        Device(device)
        for name, value, good, must in (
            ("init_scale", init_scale, 0 < init_scale <= _LARGEST, "be positive and finite"),
            ("growth_factor", growth_factor, growth_factor > 1, "be above 1"),
            ("backoff_factor", backoff_factor, 0 < backoff_factor < 1, "be between 0 and 1"),
            ("growth_interval", growth_interval, growth_interval >= 1, "be positive"),
        ):
            if not good:
                raise ArgumentError(complaint("GradScaler", name, must, value))
        self._enabled = bool(enabled)
        self._scale = float(init_scale)
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._growth_tracker = 0  # steps in a row without an overflow
        # Of each optimizer since the last update: whether its gradients are finite, on each device; what was read.
        self._flags: dict[int, list[Tensor]] = {}
        self._read: dict[int, bool] = {}

    def is_enabled(self) -> bool:
        """Whether the scaler does anything."""
        return self._enabled

    def get_scale(self) -> float:
        """The scale, 1.0 if the scaler is not enabled."""
        return self._scale if self._enabled else 1.0

    def scale(self, outputs: Any) -> Any:
        """A tensor, or the tensors of a list, tuple or other iterable, times the scale; half types give float32."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs.to(dtype=wide(outputs.dtype)) * self._scale
        if not isinstance(outputs, Iterable):
            raise ArgumentError(complaint("GradScaler", "outputs", "hold tensors", type(outputs).__name__))
        scaled = [self.scale(output) for output in outputs]
        return tuple(scaled) if isinstance(outputs, tuple) else scaled

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of the optimizer's parameters by the scale, in place; at most once before each step.

        Raises:
            GraphError: the optimizer's gradients were divided, or its step made, since the last update.
            DtypeError: a gradient is float16 (under autocast parameters are float32).
        """
        if not self._enabled:
            return
        if id(optimizer) in self._flags:
            after = "step()" if id(optimizer) in self._read else "unscale_()"
            raise GraphError(f"[GradScaler] unscale_() was called after {after}; call update() in between")
        flags: dict[int, list[Tensor]] = {}
        with no_grad():
            for group in optimizer.param_groups:
                for gradient in [p.grad for p in group["params"] if p.grad is not None]:
                    if gradient.dtype == float16:
                        raise DtypeError("[GradScaler] float16 gradients cannot be unscaled: keep parameters float32")
                    flags.setdefault(id(gradient._be), []).append(gradient.isfinite().all())
                    gradient.mul_(1.0 / self._scale)
            self._flags[id(optimizer)] = [stack(each).all() for each in flags.values()]

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step(*args, **kwargs)`` and its value, or None without a step if a gradient is not finite.

        Gradients that are still scaled are divided first.

        Raises:
            GraphError: a step was made since the last update, or no parameter has a gradient.
            ArgumentError: a closure was given, whose gradients would not be scaled.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if args or "closure" in kwargs:
            raise ArgumentError("[GradScaler] step() takes no closure: its gradients would not be scaled")
        if id(optimizer) in self._read:
            raise GraphError("[GradScaler] step() was called after step(); call update() in between")
        if id(optimizer) not in self._flags:
            self.unscale_(optimizer)
        if not self._flags[id(optimizer)]:
            raise GraphError("[GradScaler] no parameter of the optimizer has a gradient")
        return optimizer.step(**kwargs) if self._finite(id(optimizer)) else None

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Change the scale as the steps since the last update went, or set it; once, after all steps.

        Raises:
            GraphError: there was no step.
        """
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        elif not any(self._flags.values()):
            raise GraphError("[GradScaler] update() was called without a step()")
        elif all(self._finite(key) for key in self._flags):
            self._growth_tracker += 1
            if self._growth_tracker == self._growth_interval:
                self._growth_tracker = 0
                grown = self._scale * self._growth_factor
                self._scale = grown if grown <= _LARGEST else self._scale
        else:
            self._growth_tracker = 0
            self._scale *= self._backoff_factor
        self._flags, self._read = {}, {}

    def _finite(self, key: int) -> bool:
        """Whether an optimizer's gradients are finite; read from their devices once."""
        if key not in self._read:
            self._read[key] = all(bool(flag.item()) for flag in self._flags[key])
        return self._read[key]

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, as PyTorch names them; empty if the scaler is not enabled."""
        return {name: getattr(self, _FIELDS[name]) for name in _FIELDS} if self._enabled else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what ``state_dict()`` gave; nothing if the scaler is not enabled.

        Raises:
            CheckpointError: a number is missing (a scaler that was not enabled saves none).
        """
        if not self._enabled:
            return
        missing = [name for name in _FIELDS if name not in state_dict]
        if missing:
            raise CheckpointError(f"[GradScaler] the saved state has no {', '.join(missing)}")
        for name, field in _FIELDS.items():
            setattr(self, field, state_dict[name])
