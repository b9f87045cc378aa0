"""The precision that a Trainer computes in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from nnlab import precision as settings
from nnlab.amp import GradScaler, autocast
from nnlab.backend import Device
from nnlab.errors import ArgumentError, complaint

PRECISIONS = ("float32", "tf32", "bf16", "fp16")
_AUTOCAST = {"bf16": "bfloat16", "fp16": "float16"}


class Precision:
    """``float32``: the process's settings as they are. ``tf32``: products and convolutions of TF32 numbers on GPUs.
    ``bf16``, ``fp16``: autocast over float32 weights, for fp16 with a GradScaler, which skips steps that overflow.

    Attributes:
        name: one of PRECISIONS.
        scaler: the GradScaler, enabled for fp16 alone.
    """

    def __init__(self, name: str, device: Device) -> None:
        if name not in PRECISIONS:
            raise ArgumentError(complaint("Trainer", "precision", f"be one of {', '.join(PRECISIONS)}", name))
        self.name, self._device = name, device.type
        self.scaler = GradScaler(device.type, enabled=name == "fp16")
        self.autocast()  # refuses bfloat16 without its package

    def autocast(self) -> AbstractContextManager[None]:
        """Context of a forward pass and its loss."""
        dtype = _AUTOCAST.get(self.name)
        return nullcontext() if dtype is None else autocast(self._device, dtype)

    @contextmanager
    def throughout(self) -> Iterator[None]:
        """Context of forward and backward passes: for tf32 the process's settings, which are put back afterwards."""
        before = settings.get_float32_matmul_precision(), settings.get_float32_conv_precision()
        if self.name == "tf32":
            settings.set_float32_matmul_precision("high")
            settings.set_float32_conv_precision("medium")
        try:
            yield
        finally:
            settings.set_float32_matmul_precision(before[0])
            settings.set_float32_conv_precision(before[1])
