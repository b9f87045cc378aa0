"""The pool of large arrays' memory."""

from __future__ import annotations

import gc
import threading
import tracemalloc

import numpy as np

import nnlab
from nnlab import nn
from nnlab.backend import get_backend
from nnlab.backend.memory import ALIGNMENT, LEAST, ROOM, SLACK, Pool, pool
from nnlab.nn import functional as F

SHAPE = (256, LEAST // 256)


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def test_freed_memory_is_given_out_again() -> None:
    pool = Pool()
    first = pool.empty(SHAPE, np.float32)
    place = address(first)
    del first
    assert address(pool.empty(SHAPE, np.float32)) == place


def test_memory_in_use_is_not_given_out() -> None:
    pool = Pool()
    first = pool.empty(SHAPE, np.float32)
    view = first[3:5].T.view(np.int32)
    place = address(first)
    del first
    second = pool.empty(SHAPE, np.float32)
    assert address(second) != place
    second[...] = 1
    view[...] = 7
    assert (second == 1).all()


def test_another_dtype_and_shape_share_a_block() -> None:
    pool = Pool()
    place = address(pool.empty((LEAST,), np.float64))
    again = pool.empty((4, LEAST // 2), np.float32)
    assert address(again) == place and again.shape == (4, LEAST // 2) and again.dtype == np.float32


def test_arrays_are_aligned_writable_and_row_major() -> None:
    pool = Pool()
    for size in (LEAST, LEAST + 1, 3 * LEAST + 17, 1 << 23):
        array = pool.empty((size,), np.uint8)
        assert address(array) % ALIGNMENT == 0 and array.flags.writeable and array.flags.c_contiguous
        assert array.shape == (size,)


def test_small_arrays_are_not_pooled() -> None:
    pool = Pool()
    assert pool.empty((LEAST - 1,), np.uint8).base is None and pool.reserved() == 0
    assert pool.empty((0, 5), np.float32).shape == (0, 5)


def test_a_larger_block_serves_too() -> None:
    pool = Pool()
    place = address(pool.empty((ROOM * LEAST,), np.uint8))
    assert address(pool.empty((LEAST,), np.uint8)) == place
    kept = pool.empty((ROOM * LEAST,), np.uint8)
    assert address(kept) == place and address(pool.empty((ROOM * LEAST,), np.uint8)) != place


def test_little_more_is_kept_than_was_in_use() -> None:
    pool = Pool()
    for scale in range(1, 40):  # arrays of many sizes, one at a time
        pool.empty((scale * LEAST,), np.uint8)
        assert pool.reserved() <= SLACK * scale * LEAST * 9 // 8
    both = [pool.empty((10 * LEAST,), np.uint8), pool.empty((30 * LEAST,), np.uint8)]
    assert 40 * LEAST <= pool.reserved() <= SLACK * 40 * LEAST * 9 // 8
    del both
    pool.trim()
    assert pool.reserved() == 0


def test_trim_leaves_arrays_alone() -> None:
    pool = Pool()
    kept = pool.empty(SHAPE, np.float32)
    pool.empty((5 * LEAST,), np.uint8)
    kept[...] = 3
    pool.trim()
    assert pool.reserved() == kept.nbytes and (kept == 3).all()
    assert address(pool.empty(SHAPE, np.float32)) != address(kept)


def test_threads_never_share_a_block() -> None:
    pool = Pool()
    wrong = []

    def work(value: int) -> None:
        for _ in range(200):
            array = pool.empty(SHAPE, np.float32)
            array[...] = value
            if not (array == value).all():
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_training_step_allocates_nothing_large_after_the_first() -> None:
    nnlab.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 16, 3),
        nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16 * 7 * 7, 64), nn.Dropout(0.5), nn.Linear(64, 10),
    )  # fmt: skip
    optimizer = nnlab.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, target = nnlab.randn(256, 3, 32, 32), nnlab.zeros(256, dtype=nnlab.int64)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), target).backward()
        optimizer.step()

    for _ in range(3):
        step()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    step()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < 12 << 20  # its activations are 70 MB; each thread works on blocks of 2


def test_the_cpu_gives_its_memory_back() -> None:
    x = nnlab.randn(64, 1024)
    y = F.relu(x)
    assert pool.reserved() >= y.numpy().nbytes
    del y
    get_backend("cpu").empty_cache()
    assert F.relu(x).shape == x.shape
