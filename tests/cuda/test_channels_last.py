"""Arrays with channels last in memory, which convolutions on tensor cores return, are computed as they lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nnlab
import nnlab.backend
import nnlab.ops
from nnlab import nn
from nnlab.nn import functional as F
from nnlab.ops._numpy import channels, layout
from tests.cuda.common import EMULATED, NOTICED, break_sources
from tests.cuda.drawn import channels_last
from tests.ops.common import close, rng
from tests.ops.test_layout import OPS, SHAPES
from tests.strict_device import StrictBackend

ROUNDED = ("batch_norm", "sigmoid", "tanh", "exp")  # sums in another order; NumPy's functions of vectors


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", OPS)
def test_the_same_results_channels_last(name: str, shape: tuple[int, ...]) -> None:
    """The same bits, but where sums take another order; also where a gradient comes in the other order."""
    x = rng(301, len(shape)).standard_normal(shape)

    def grad(y: np.ndarray) -> np.ndarray:
        return rng(302).standard_normal(y.shape)

    kept, sums = OPS[name](EMULATED, x, grad)
    there, sums_there = OPS[name](EMULATED, channels_last(x), lambda y: channels_last(grad(y)))
    mixed, _ = OPS[name](EMULATED, channels_last(x), grad)
    for wanted, *found in zip(kept, there, mixed, strict=True):
        assert wanted.flags.c_contiguous
        # An array of one position lies in both orders; so does what its gradient is made of.
        assert layout.is_channels_last(found[0]) or name == "adaptive_avg_pool 1"
        for each in found:
            if name in ROUNDED:
                close(each, wanted)
            else:
                np.testing.assert_array_equal(each, wanted, strict=True)
    for found, wanted in zip(sums_there, sums, strict=True):
        close(found, wanted)


@pytest.mark.parametrize(
    ("name", "file", "old", "new"),
    [
        ("dropout", "dropout.cu", "image * channels + i % channels", "image * channels + i % inner"),
        ("dropout", "include/philox.cuh", "i % 4 < 2 ? low : high", "low"),
        ("max_pool overlap", "max_pool.cu", "tw * w.dilation) * run + lane", "tw * w.dilation) * run"),
        ("max_pool overlap", "max_pool.cu", "const index_t o = (row + ow) * run + lane", "const index_t o = row + ow"),
        ("max_pool overlap", "max_pool.cu", "w.in + qw) * run + lane", "w.in + qw) * run"),
        ("avg_pool overlap", "avg_pool.cu", "start_w + tw) * run + lane", "start_w + tw) * run"),
        ("adaptive_avg_pool 3", "avg_pool.cu", "x[(row + qw) * run + lane]", "x[row + qw]"),
        ("adaptive_max_pool", "adaptive_max_pool.cu", "in_w * run + lane", "in_w * run"),
        (
            "adaptive_max_pool",
            "adaptive_max_pool.cu",
            "const index_t o = (row + ow) * run + lane",
            "const index_t o = row",
        ),
    ],
)
def test_a_broken_kernel_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, file: str, old: str, new: str
) -> None:
    break_sources(monkeypatch, tmp_path, file, old, new)
    with pytest.raises(NOTICED):
        test_the_same_results_channels_last(name, (6, 3, 8, 7))


ARRAY_CODE = {
    "sum": lambda x: x + 2 * x,
    "difference": lambda x: 1 - x,
    "quotient": lambda x: x / (x * x + 3),
    "by channels": lambda x: x * x.mean((2, 3), keepdim=True),
    "joined": lambda x: nnlab.cat([x, -x], 1),
    "joined images": lambda x: nnlab.cat([x, x], 0),
    "normalised": nn.BatchNorm2d(5),
    "normalised as before": nn.BatchNorm2d(5).eval(),
    "resampled": nn.Upsample(scale_factor=2, mode="bilinear"),
    "sigmoid": F.sigmoid,
    "gelu": F.gelu,
}


@pytest.mark.parametrize("name", ARRAY_CODE)
def test_array_code_on_a_gpu_keeps_the_order(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where arithmetic of arrays gives row-major results, as CuPy's does."""
    backend, real = StrictBackend(), nnlab.backend._backend
    monkeypatch.setattr(nnlab.backend, "_backend", lambda kind, i: backend if kind == "cuda" else real(kind, i))
    monkeypatch.setattr(nnlab.ops, "CUDA_KERNELS", frozenset())
    memory = rng(303).standard_normal((2, 4, 3, 5)).astype(np.float32)
    found = []
    for device in ("cpu", "cuda"):
        nnlab.manual_seed(5)
        function = ARRAY_CODE[name]
        if isinstance(function, nn.Module):
            function.to(device)
        x = nnlab.tensor(memory, device=device, requires_grad=True)
        y = function(x.permute(0, 3, 1, 2))
        (y * y * y).sum().backward()
        found.append((y.detach().cpu().numpy(), x.grad.cpu().numpy()))
        assert device == "cpu" or layout.is_channels_last(y._data)
    for one, other in zip(*found, strict=True):
        close(one, other, rtol=1e-5)


def test_channels_of_channels_last_memory_are_a_view() -> None:
    x = channels_last(rng(304).standard_normal((2, 5, 4, 3)))
    rows = channels.rows(x, layout.kept_order(EMULATED, x))
    assert rows.shape == (24, 5, 1) and np.shares_memory(rows, x)


def test_channels_last_is_seen_past_gaps_and_sizes_of_one() -> None:
    x = channels_last(np.zeros((2, 6, 4, 3)))
    for last in (x, x[:, 1:4], x[:1], x[:, :, 1:, ::2], x[:, :, :1], channels_last(np.zeros((2, 3, 5)))):
        assert layout.is_channels_last(last)
    row_major = np.zeros((2, 6, 4, 3))
    images_last = np.zeros((6, 4, 3, 2)).transpose(3, 0, 1, 2)
    for other in (row_major, row_major[:, 1:4], images_last, x[:, :1], x[:, :, :1, :1], x[0], np.zeros((3, 4)).T):
        assert not layout.is_channels_last(other)
