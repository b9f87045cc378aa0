from __future__ import annotations

import os
import threading
import time
import weakref
from functools import partial

import numpy as np
import pytest

from nnlab.ops._numpy import parallel
from tests.ops.common import CPU


def test_ranges_cover_everything_once():
    for count, most in ((0, 3), (1, 3), (10, 3), (10, 0), (7, 100)):
        ranges = parallel.cut(count, most)
        assert [i for lo, hi in ranges for i in range(lo, hi)] == list(range(count))
        assert all(hi - lo <= max(most, 1) for lo, hi in ranges)


def test_every_task_runs_and_errors_come_out(monkeypatch):
    monkeypatch.setattr("nnlab.backend.threads._chosen", 2)
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


def test_the_first_error_comes_out(monkeypatch):
    monkeypatch.setattr("nnlab.backend.threads._chosen", 3)
    done = np.zeros(40, int)

    def work(index):
        done[index] = 1
        if index % 10 == 7:
            raise ValueError(f"task {index}")

    for _ in range(20):
        with pytest.raises(ValueError, match=r"task 7$"):
            parallel.run(CPU, work, 40, 1 << 30)
    assert done[:8].all()
    assert not done[30:].any()  # dropped: three threads have taken but a few more


def test_tasks_may_have_tasks(monkeypatch):
    """More of them than there are threads: none waits for a thread that waits."""
    monkeypatch.setattr("nnlab.backend.threads._chosen", 2)
    done = np.zeros((6, 6), int)

    def outer(i):
        parallel.run(CPU, lambda j: done[i].__setitem__(j, done[i, j] + 1), 6, 1 << 30)

    parallel.run(CPU, outer, 6, 1 << 30)
    assert (done == 1).all()


def test_several_threads_share_the_work(monkeypatch):
    """Each waits for the other, so one alone would never end."""
    monkeypatch.setattr("nnlab.backend.threads._chosen", 2)
    meeting = threading.Barrier(2, timeout=20)
    parallel.run(CPU, lambda _: meeting.wait(), 2, 1 << 30)


def test_a_child_process_has_threads_of_its_own(monkeypatch):
    monkeypatch.setattr("nnlab.backend.threads._chosen", 2)
    test_several_threads_share_the_work(monkeypatch)
    child = os.fork()
    if child == 0:
        try:
            test_several_threads_share_the_work(monkeypatch)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_warnings_stay_off_in_threads(monkeypatch):
    """Infinity minus infinity is NaN, not a warning, on any thread."""
    monkeypatch.setattr("nnlab.backend.threads._chosen", 2)
    parallel.run(CPU, lambda i: np.full(3, np.inf) - np.inf, 4, 1 << 30)


def test_scratch_is_reused_and_grows():
    first = parallel.scratch(CPU, "test", (2, 3), np.float32)
    first[...] = 5
    again = parallel.scratch(CPU, "test", (6,), np.float32)
    assert np.shares_memory(first, again)
    assert parallel.scratch(CPU, "test", (100,), np.float64).shape == (100,)


@pytest.mark.parametrize("threads", [1, 3])
def test_tasks_beside_the_caller(threads, monkeypatch):
    monkeypatch.setattr("nnlab.backend.threads._chosen", threads)
    done = np.zeros(20, int)
    with parallel.beside(CPU, 1 << 30) as later:
        waits = [later(lambda i=i: done.__setitem__(i, done[i] + 1)) for i in range(20)]
        for i in (19, 0, 0):  # in any order, more than once
            waits[i]()
            assert done[i] == 1
    assert (done == 1).all()


def test_a_task_beside_runs_on_another_thread(monkeypatch):
    monkeypatch.setattr("nnlab.backend.threads._chosen", 2)
    began, threads = threading.Event(), []
    with parallel.beside(CPU, 1 << 30) as later:
        later(lambda: (threads.append(threading.current_thread()), began.set()))
        assert began.wait(60)
    assert threads[0] is not threading.current_thread()
    with parallel.beside(CPU, 100) as later:  # not worth it
        later(lambda: threads.append(threading.current_thread()))
        assert threads[1] is threading.current_thread()


@pytest.mark.parametrize("threads", [1, 3])
def test_errors_beside(threads, monkeypatch):
    """All tasks end before the first one's error comes out; the caller's own error comes before."""
    monkeypatch.setattr("nnlab.backend.threads._chosen", threads)
    done = []

    def fail(name):
        raise ValueError(name)

    def tasks(later):
        later(lambda: fail("first"))
        later(lambda: fail("second"))
        later(lambda: done.append(1))

    with pytest.raises(ValueError, match="first"), parallel.beside(CPU, 1 << 30) as later:
        tasks(later)
    assert done == ([1] if threads > 1 else [])

    def broken():
        with parallel.beside(CPU, 1 << 30) as later:
            if threads > 1:
                tasks(later)
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert done == ([1, 1] if threads > 1 else [])
    with pytest.raises(ValueError, match="second"), parallel.beside(CPU, 1 << 30) as later:
        later(lambda: fail("second"))()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("work", [100, 1 << 30])
def test_a_function_aside(threads, work, monkeypatch):
    """Its result, as often as it is asked for; computed once."""
    monkeypatch.setattr("nnlab.backend.threads._chosen", threads)
    calls = []
    waits = [parallel.aside(CPU, lambda i=i: (calls.append(i), i * i)[1], work) for i in range(8)]
    for i in (7, 0, 0, 3, 7):
        assert waits[i]() == i * i
    assert [wait() for wait in waits] == [i * i for i in range(8)]
    assert sorted(calls) == list(range(8))


def test_who_waits_for_a_function_helps_with_its_tasks(monkeypatch):
    """Two tasks that wait for each other, and nobody else is there to take the second one."""
    monkeypatch.setattr("nnlab.backend.threads._chosen", 2)
    began, meeting, threads = threading.Event(), threading.Barrier(2, timeout=60), []

    def task(_):
        threads.append(threading.current_thread())
        meeting.wait()

    def function():
        began.set()
        parallel.run(CPU, task, 2, 1 << 30)

    # The other helpers of earlier tests are kept busy, so that only the thread that waits can take the second task.
    hold, held = threading.Event(), [threading.Event() for _ in range(parallel._helpers._count)]

    def occupy(event):
        event.set()
        hold.wait(60)

    busy = [parallel._Job(CPU, lambda _, event=event: occupy(event), 1) for event in held[1:]]
    for job in busy:
        parallel._helpers.call(job, 1)
    assert all(event.wait(60) for event in held[1:])
    wait = parallel.aside(CPU, function, 1 << 30)
    assert began.wait(60)
    wait()
    hold.set()
    for job in busy:
        job.wait()
    assert threading.current_thread() in threads and len(set(threads)) == 2


def test_one_function_aside_at_a_time_and_its_arrays_are_let_go(monkeypatch):
    monkeypatch.setattr("nnlab.backend.threads._chosen", 3)
    order, arrays = [], [np.zeros(3) for _ in range(4)]
    kept = [weakref.ref(array) for array in arrays]

    def function(i, array):
        order.append(i)
        time.sleep(0.01)
        order.append(i)

    waits = [parallel.aside(CPU, partial(function, i, arrays.pop()), 1 << 30) for i in range(4)]
    waits[-1]()
    assert order == [0, 0, 1, 1, 2, 2, 3, 3]
    assert all(ref() is None for ref in kept)
    del waits


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_aside_comes_out_each_time_it_is_waited_for(threads, monkeypatch):
    monkeypatch.setattr("nnlab.backend.threads._chosen", threads)

    def fail():
        raise ValueError("aside")

    if threads == 1:
        with pytest.raises(ValueError, match="aside"):
            parallel.aside(CPU, fail, 1 << 30)
        return
    wait = parallel.aside(CPU, fail, 1 << 30)
    for _ in range(2):
        with pytest.raises(ValueError, match="aside"):
            wait()


def test_numpy_is_as_before_after_quiet_work():
    before = np.getbufsize(), np.geterr()
    with CPU.quiet(), CPU.quiet():
        assert np.getbufsize() < 8192
        np.full(3, np.inf) - np.inf  # no warning
    assert (np.getbufsize(), np.geterr()) == before
