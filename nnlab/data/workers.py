"""The parent's side of worker processes.

Batch i goes to worker i modulo the number of workers, and each worker answers in order, so batches come back in order
without any sorting. Each worker has ``prefetch_factor`` slots of shared memory. Only the parent makes and removes
shared memories: a batch that does not fit its slot comes through the pipe, and the parent then gives it a larger one.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import pickle
import shutil
import signal
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.shared_memory import SharedMemory
from typing import Any

from nnlab.data.dataset import Dataset
from nnlab.data.key import SampleKey
from nnlab.data.transport import memory_of, pack, unpack, write
from nnlab.data.worker import Collate, Failure, Reply, Setup, Task, main
from nnlab.errors import ArgumentError, WorkerError

_SECONDS_TO_END = 1.0


class _Worker:
    """One process, its pipes and slots."""

    def __init__(self, process: BaseProcess, outbox: Connection, inbox: Connection, slots: int) -> None:
        self.process = process
        self.outbox = outbox
        self.inbox = inbox
        self.slots: list[SharedMemory | None] = [None] * slots
        self.next_slot = 0
        self.waiting: deque[tuple[int, list[int]]] = deque()  # (slot, indices) of tasks without an answer

    def submit(self, indices: list[int], key: SampleKey) -> None:
        memory = self.slots[self.next_slot]
        self.waiting.append((self.next_slot, indices))
        # A worker that has died in the meantime is noticed when its next answer is due.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.outbox.send(Task(indices, key, self.next_slot, None if memory is None else memory.name))
        self.next_slot = (self.next_slot + 1) % len(self.slots)


class WorkerPool:
    """Worker processes that live until :meth:`close`, or until the pool is garbage.

    Args:
        dataset, collate_fn, worker_init_fn: sent to each worker once; arrays of the data set are shared, read-only.
        num_workers: processes.
        prefetch_factor: batches that each worker loads ahead.
        timeout: seconds to wait for a batch; 0 waits as long as the worker lives.
        start_method: "spawn" or "forkserver".
    """

    def __init__(
        self,
        dataset: Dataset,
        collate_fn: Collate | None,
        worker_init_fn: Callable[[int], None] | None,
        num_workers: int,
        prefetch_factor: int,
        timeout: float,
        start_method: str,
    ) -> None:
        self.payload = (dataset, collate_fn, worker_init_fn)
        self.num_workers = num_workers
        self.prefetch_factor = prefetch_factor
        self.timeout = timeout
        self.start_method = start_method
        self.workers: list[_Worker] = []
        self.segments: list[SharedMemory] = []
        self.turn = 0
        # Runs when the pool is garbage and at exit; it must not hold the pool itself.
        self.finalizer = weakref.finalize(self, _shut_down, self.workers, self.segments)

    def run(self, batches: Iterable[list[int]], key: SampleKey) -> Iterator[Any]:
        """The batches of these indices, in order.

        Raises:
            WorkerError: a worker died or did not answer in time, or another run has begun meanwhile.
            Exception: what a data set raised in a worker, with the worker's trace-back as a note.
        """
        self.turn += 1
        turn = self.turn
        self._make_ready()
        numbered = enumerate(batches)
        pending: deque[_Worker] = deque()
        while True:
            with self._closing_on_error():
                while len(pending) < self.num_workers * self.prefetch_factor:
                    number, indices = next(numbered, (0, None))
                    if indices is None:
                        break
                    worker = self.workers[number % self.num_workers]
                    worker.submit(indices, key)
                    pending.append(worker)
                if not pending:
                    return
                answer = self._receive(pending.popleft())
            if isinstance(answer, Failure):
                raise _restored(answer)
            yield answer
            if self.turn != turn:
                raise WorkerError(
                    "[DataLoader] a new iteration has begun; with num_workers > 0 only one can run at a time"
                )

    def close(self) -> None:
        """End the processes and free the shared memory."""
        _shut_down(self.workers, self.segments)

    @contextlib.contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        """After any interruption of the talk with the workers, Ctrl-C included, the pool starts anew."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _make_ready(self) -> None:
        with self._closing_on_error():
            if not self.workers:
                self._start()
            for worker in self.workers:  # answers that an iteration which was given up did not fetch
                while worker.waiting:
                    self._receive(worker)

    def _start(self) -> None:
        try:
            packed, contents = pack(self.payload)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise ArgumentError(
                "[DataLoader] 'dataset', 'collate_fn' and 'worker_init_fn' must be picklable to be sent to worker "
                f"processes (no lambdas, no local functions or classes, no open files), got: {error}"
            ) from error
        name = None
        if packed.nbytes:
            memory = SharedMemory(create=True, size=packed.nbytes)
            self.segments.append(memory)
            write(memory_of(memory), contents)
            name = memory.name
        context = multiprocessing.get_context(self.start_method)
        with _sigint_blocked(self.start_method == "spawn"):
            for worker_id in range(self.num_workers):
                task_reader, task_writer = context.Pipe(duplex=False)
                answer_reader, answer_writer = context.Pipe(duplex=False)
                process = context.Process(  # type: ignore[attr-defined]
                    target=main,
                    args=(worker_id, task_reader, answer_writer),
                    name=f"nnlab-data-{worker_id}",
                    daemon=True,
                )
                process.start()
                task_reader.close()
                answer_writer.close()
                self.workers.append(_Worker(process, task_writer, answer_reader, self.prefetch_factor))
        for worker_id, worker in enumerate(self.workers):
            try:
                worker.outbox.send(Setup(packed, name))
            except (BrokenPipeError, ConnectionResetError):
                raise self._died(worker_id) from None

    def _receive(self, worker: _Worker) -> Any:
        """The next answer of a worker: a batch, or a Failure."""
        ready = wait([worker.inbox, worker.process.sentinel], self.timeout or None)
        if not ready:
            raise WorkerError(
                f"[DataLoader] worker {self.workers.index(worker)} gave no batch within 'timeout' = {self.timeout} s"
            )
        answer = None
        if worker.inbox in ready or worker.inbox.poll():
            with contextlib.suppress(EOFError, OSError):
                answer = worker.inbox.recv()
        if answer is None:
            raise self._died(self.workers.index(worker))
        slot, _ = worker.waiting.popleft()
        if not isinstance(answer, Reply):
            return answer
        memory = worker.slots[slot]
        if answer.contents is not None:
            if answer.packed.nbytes:
                self._enlarge(worker, slot, answer.packed.nbytes)
            return unpack(answer.packed, memoryview(bytearray(answer.contents)))
        assert memory is not None
        return unpack(answer.packed, memoryview(bytearray(memory_of(memory)[: answer.packed.nbytes])))

    def _enlarge(self, worker: _Worker, slot: int, nbytes: int) -> None:
        """Give a slot room for such a batch and a quarter more; without room in shared memory the pipe must do."""
        old, size = worker.slots[slot], nbytes + nbytes // 4
        if old is not None:
            worker.slots[slot] = None
            self.segments.remove(old)
            _remove(old)
        if os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free < 2 * size:
            return
        memory = SharedMemory(create=True, size=size)
        self.segments.append(memory)
        worker.slots[slot] = memory

    def _died(self, worker_id: int) -> WorkerError:
        worker = self.workers[worker_id]
        worker.process.join(_SECONDS_TO_END)
        code = worker.process.exitcode
        how = f"ended with exit code {code}"
        if code is not None and code < 0:
            how = f"was killed by signal {-code} ({signal.Signals(-code).name})"
        doing = "while starting"
        if worker.waiting:
            indices = worker.waiting[0][1]
            doing = f"while loading samples {indices[:8]}{' …' if len(indices) > 8 else ''}"
        hints = {
            1: "; a script that starts workers must do so under: if __name__ == '__main__':",
            -signal.SIGBUS if hasattr(signal, "SIGBUS") else math.nan: "; is /dev/shm full?",
            -signal.SIGKILL if hasattr(signal, "SIGKILL") else math.nan: "; was the machine out of memory?",
        }
        return WorkerError(
            f"[DataLoader] worker {worker_id} (process {worker.process.pid}) {how} {doing}{hints.get(code or 0, '')}"
        )


def _restored(failure: Failure) -> BaseException:
    """The exception that a worker raised."""
    error: BaseException = WorkerError(f"[DataLoader] {failure.summary}")
    if failure.error is not None:
        error = pickle.loads(failure.error)
    error.add_note(f"raised in a worker process:\n{failure.trace}")
    return error


@contextlib.contextmanager
def _sigint_blocked(wanted: bool) -> Iterator[None]:
    """Processes started here inherit the mask, so Ctrl-C does not hit them before they can ignore it."""
    if not wanted or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _shut_down(workers: list[_Worker], segments: list[SharedMemory]) -> None:
    for worker in workers:
        worker.outbox.close()
        worker.inbox.close()
    for worker in workers:
        worker.process.join(_SECONDS_TO_END)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.process.close()
    workers.clear()
    while segments:
        _remove(segments.pop())


def _remove(memory: SharedMemory) -> None:
    memory.close()
    memory.unlink()
