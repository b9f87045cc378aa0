"""kernels/dropout.cu through its launches and the gate, run on the CPU, against the CPU body and the formula."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from nnlab.cuda import launch, sources
from nnlab.errors import DtypeError
from nnlab.ops._cuda import dropout as kernels
from nnlab.ops._numpy import dropout as arrays
from nnlab.random import philox
from tests.cuda.common import CPU, DTYPES, EMULATED


def _values(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return np.asarray(np.random.default_rng(5).normal(size=shape), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (4,), (5,), (7, 11), (2, 3, 5, 7), (1027,)])
def test_same_masks_and_values_as_on_the_cpu(shape: tuple[int, ...], p: float, dtype: str) -> None:
    x, dy = _values(shape, dtype), _values(shape, dtype)
    arguments = {"x": x, "p": p, "seed": 2**40 + 3, "offset": 2**33 + 1}
    y, saved = kernels.forward(EMULATED, **arguments)
    expected, expected_saved = arrays.forward(CPU, **arguments)
    np.testing.assert_array_equal(saved.mask, expected_saved.mask, strict=True)
    assert saved.scale == expected_saved.scale
    dx = kernels.backward(EMULATED, dy=dy, saved=saved)
    expected_dx = arrays.backward(CPU, dy=dy, saved=expected_saved)
    np.testing.assert_array_equal(y, expected, strict=True)
    np.testing.assert_array_equal(dx, expected_dx, strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_against_the_formula(dtype: str) -> None:
    x = _values((6, 7), dtype)
    p = 0.3
    y, saved = kernels.forward(EMULATED, x=x, p=p, seed=1, offset=2)
    accumulator = np.float64 if dtype == "float64" else np.float32
    scaled = (x.astype(accumulator) * accumulator(1 / (1 - p))).astype(dtype)
    for index in np.ndindex(x.shape):
        assert y[index] == (scaled[index] if saved.mask[index] else 0)
    assert saved.mask.dtype == bool


@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
def test_keeps_the_right_share(p: float) -> None:
    """Within five standard deviations of a binomial."""
    n = 100_000
    _, saved = kernels.forward(EMULATED, x=np.ones(n, np.float32), p=p, seed=0, offset=0)
    assert abs(saved.mask.mean() - (1 - p)) < 5 * (p * (1 - p) / n) ** 0.5


def test_the_mask_does_not_depend_on_the_launch_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small grid walks the same elements by its grid-stride loop."""
    x = _values((5000,), "float32")
    whole = kernels.forward(EMULATED, x=x, p=0.5, seed=9, offset=1)
    monkeypatch.setattr(launch, "MAX_BLOCKS", 2)
    monkeypatch.setattr(launch, "BLOCK", 32)
    strided = kernels.forward(EMULATED, x=x, p=0.5, seed=9, offset=1)
    np.testing.assert_array_equal(whole[0], strided[0])
    np.testing.assert_array_equal(whole[1].mask, strided[1].mask)
    np.testing.assert_array_equal(
        kernels.backward(EMULATED, dy=x, saved=whole[1]), np.where(whole[1].mask, x * np.float32(2), np.float32(0))
    )


def test_64_bit_indices_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    x = _values((1001,), "float32")
    short = kernels.forward(EMULATED, x=x, p=0.5, seed=9, offset=1)
    monkeypatch.setattr(launch, "_INDEX_LIMIT", 1000)
    wide = kernels.forward(EMULATED, x=x, p=0.5, seed=9, offset=1)
    np.testing.assert_array_equal(short[0], wide[0])


def test_views_are_taken_in_logical_order() -> None:
    x = _values((6, 8), "float32")
    y, saved = kernels.forward(EMULATED, x=x.T, p=0.5, seed=3, offset=0)
    expected, _ = arrays.forward(CPU, x=np.ascontiguousarray(x.T), p=0.5, seed=3, offset=0)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(
        kernels.backward(EMULATED, dy=x.T, saved=saved), arrays.backward(CPU, dy=x.T, saved=saved)
    )


def test_dropped_nan_and_infinity_become_zero() -> None:
    x = np.full(64, np.nan, np.float32)
    x[::2] = np.inf
    y, saved = kernels.forward(EMULATED, x=x, p=0.5, seed=0, offset=0)
    assert 0 < saved.mask.sum() < 64
    assert (y[~saved.mask] == 0).all()
    assert not np.isfinite(y[saved.mask]).any()


def test_nothing_to_do() -> None:
    y, saved = kernels.forward(EMULATED, x=np.ones((0, 3), np.float32), p=0.5, seed=0, offset=0)
    assert y.shape == saved.mask.shape == (0, 3)


def test_integers_are_refused() -> None:
    with pytest.raises(
        DtypeError, match=r"\[dropout_forward\] 'x' must be one of float32, float64, float16, bfloat16, got 'int64'"
    ):
        kernels.forward(EMULATED, x=np.ones(3, np.int64), p=0.5, seed=0, offset=0)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("dropout.cu", "words.w[j] >= threshold", "words.w[j] > threshold"),
        ("dropout.cu", "words.w[j] >= threshold", "words.w[3 - j] >= threshold"),
        ("dropout.cu", "if (i >= n) break;", "if (i + 1 >= n) break;"),
        ("include/philox.cuh", "round < 10", "round < 9"),
        ("include/philox.cuh", "key1 += 0xBB67AE85u", "key1 += 0x9E3779B9u"),
    ],
)
def test_a_broken_kernel_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, old: str, new: str
) -> None:
    """The comparison with the CPU body fails for each of these mutations of the sources."""
    root = Path(shutil.copytree(sources.folder(), tmp_path / "kernels"))
    text = (root / file).read_text()
    assert text.count(old) == 1
    (root / file).write_text(text.replace(old, new))

    monkeypatch.setattr(sources, "folder", lambda: root)
    launch._image.cache_clear()
    words = philox(CPU, 3, 4, 7)
    p = float(np.sort(words)[3]) / 2**32  # one word equals the threshold
    x = _values((7,), "float32")
    y, _ = kernels.forward(EMULATED, x=x, p=p, seed=3, offset=4)
    launch._image.cache_clear()
    expected, _ = arrays.forward(CPU, x=x, p=p, seed=3, offset=4)
    assert not np.array_equal(y, expected)
