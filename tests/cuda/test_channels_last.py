"""Arrays with channels last in memory, which convolutions on tensor cores return, are computed as they lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnlab.ops._numpy import layout
from tests.cuda.common import EMULATED, NOTICED, break_sources
from tests.cuda.drawn import channels_last
from tests.ops.common import close, rng
from tests.ops.test_layout import OPS, SHAPES

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
