from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from nnlab.ops._numpy import parallel
from tests.ops.common import CPU


def test_ranges_cover_everything_once():
    for count, most in ((0, 3), (1, 3), (10, 3), (10, 0), (7, 100)):
        ranges = parallel.cut(count, most)
        assert [i for lo, hi in ranges for i in range(lo, hi)] == list(range(count))
        assert all(hi - lo <= max(most, 1) for lo, hi in ranges)


def test_blas_threads_are_held_and_given_back():
    calls = parallel._blas_calls()
    if calls is None:
        pytest.skip("this BLAS has no known call for its thread count")
    before = calls[1]()
    calls[0](2)
    try:
        with parallel.one_blas_thread(), parallel.one_blas_thread():
            assert calls[1]() == 1
        assert calls[1]() == 2
        with pytest.raises(ValueError, match="inside"), parallel.one_blas_thread():
            raise ValueError("inside")
        assert calls[1]() == 2
    finally:
        calls[0](before)


def test_every_task_runs_and_errors_come_out(monkeypatch):
    monkeypatch.setattr(parallel, "thread_count", lambda: 2)
    done = np.zeros(20, int)

    def work(index):
        done[index] += 1
        if index == 13:
            raise ValueError("task 13")

    with pytest.raises(ValueError, match="task 13"):
        parallel.run(CPU, work, 20, 1 << 30)
    assert done[13] == 1
    done[:] = 0
    parallel.run(CPU, lambda i: done.__setitem__(i, done[i] + 1), 20, 1 << 30)
    assert (done == 1).all()


def test_tasks_may_have_tasks(monkeypatch):
    """A pool whose threads all wait for one another would never end."""
    done = np.zeros((6, 5), int)
    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(parallel, "thread_count", lambda: 2)
        monkeypatch.setattr(parallel, "_pool", lambda: pool)

        def work(i):
            parallel.run(CPU, lambda j: done.__setitem__((i, j), 1), 5, 1 << 30)

        parallel.run(CPU, work, 6, 1 << 30)
    assert done.all()


def test_warnings_stay_off_in_threads(monkeypatch):
    """Infinity minus infinity is NaN, not a warning, on any thread."""
    monkeypatch.setattr(parallel, "thread_count", lambda: 2)
    parallel.run(CPU, lambda i: np.full(3, np.inf) - np.inf, 4, 1 << 30)


def test_scratch_is_reused_and_grows():
    first = parallel.scratch(CPU, "test", (2, 3), np.float32)
    first[...] = 5
    again = parallel.scratch(CPU, "test", (6,), np.float32)
    assert np.shares_memory(first, again)
    assert parallel.scratch(CPU, "test", (100,), np.float64).shape == (100,)


@pytest.mark.parametrize(("value", "count"), [("3", 3), ("0", None), ("x", None)])
def test_thread_count_from_the_environment(monkeypatch, value, count):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    found = parallel.thread_count()
    assert found == count if count else found >= 1
