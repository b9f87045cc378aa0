"""Padding, resampling, folding and pooling layers on arrays as strict as a GPU's: same bits as on the CPU."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import nnlab
import nnlab.backend
import nnlab.ops
from nnlab import nn
from nnlab.nn import functional as F
from tests.nn.peer import normals
from tests.strict_device import StrictBackend

Function = Callable[[nnlab.Tensor], nnlab.Tensor]

FUNCTIONS: dict[str, Function] = {
    "zeros": nn.ZeroPad2d((1, -1, 2, 0)),
    "reflection": nn.ReflectionPad2d((3, -1, 2, 0)),
    "replication": nn.ReplicationPad2d((3, -1, 2, 0)),
    "circular": nn.CircularPad2d((3, -1, 2, 0)),
    "nearest": nn.Upsample(scale_factor=2),
    "nearest to a size": nn.Upsample((7, 3)),
    "area": nn.Upsample((7, 3), mode="area"),
    "bilinear": nn.Upsample((7, 3), mode="bilinear"),
    "bicubic": nn.Upsample((7, 3), mode="bicubic", align_corners=True),
    "antialiased": lambda x: F.interpolate(x, (2, 3), mode="bicubic", antialias=True),
    "unfold": nn.Unfold(3, padding=1, stride=2),
    "fold": lambda x: F.fold(x.reshape(2, 16, 5), (6, 2), 2),
    "pixel shuffle": nn.PixelShuffle(2),
    "pixel unshuffle": lambda x: F.pixel_unshuffle(x[..., :4], 2),
    "channel shuffle": nn.ChannelShuffle(2),
    "powers": nn.LPPool2d(2, 2, ceil_mode=True),
    "fractional": nn.FractionalMaxPool2d(2, (2, 3)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_same_bits(name: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device "cuda" without a GPU; operations with kernels run their array code."""
    backend, real = StrictBackend(), nnlab.backend._backend
    monkeypatch.setattr(nnlab.backend, "_backend", lambda kind, i: backend if kind == "cuda" else real(kind, i))
    monkeypatch.setattr(nnlab.ops, "CUDA_KERNELS", frozenset())
    found = []
    for device in ("cpu", "cuda"):
        nnlab.manual_seed(5)
        x = nnlab.tensor(np.abs(normals(2, 4, 4, 5)).astype(dtype)).to(device).requires_grad_()
        y = FUNCTIONS[name](x)
        assert y.device.type == device
        (y * y).sum().backward()
        found.append((y.detach().cpu().numpy(), x.grad.cpu().numpy()))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
