"""What runs in a worker process, and the messages between it and the parent."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import Any, NamedTuple

from nnlab.data.collate import to_arrays
from nnlab.data.dataset import Dataset
from nnlab.data.key import SampleKey
from nnlab.data.transport import Packed, memory_of, pack, unpack, write

Collate = Callable[[list[Any]], Any]


class Setup(NamedTuple):
    """Parent to worker, once: (data set, collate function, worker_init_fn), its arrays in a shared memory."""

    packed: Packed
    segment: str | None


class Task(NamedTuple):
    """Parent to worker: load these samples, put the arrays into the shared memory ``segment`` if they fit.

    ``slot`` says which of the worker's shared memories that is: an older one of the same slot is done with.
    """

    indices: list[int]
    key: SampleKey
    slot: int
    segment: str | None


class Reply(NamedTuple):
    """Worker to parent: one batch; ``contents`` holds the arrays if they are not in the task's shared memory."""

    packed: Packed
    contents: bytes | None


class Failure(NamedTuple):
    """Worker to parent: what was raised instead; ``error`` is None if the exception cannot be pickled."""

    error: bytes | None
    summary: str
    trace: str


def fetch(dataset: Dataset, indices: Sequence[int], key: SampleKey, collate_fn: Collate | None) -> Any:
    """One batch of NumPy arrays."""
    if collate_fn is None:
        return dataset.batch(indices, key)
    return to_arrays(collate_fn([dataset.sample(index, key) for index in indices]))


def main(worker_id: int, inbox: Connection, outbox: Connection) -> None:
    """The worker's life: a Setup, then a Reply or Failure for each Task, until the parent closes ``inbox``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent decides
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    closed = threading.Event()
    threading.Thread(target=_listen, args=(inbox, tasks, closed), daemon=True).start()
    setup = tasks.get()
    # Held here until the very end: Python complains about a shared memory that is closed while arrays use it.
    segment = None if setup is None or setup.segment is None else SharedMemory(setup.segment)
    try:
        if setup is not None:
            memory = memoryview(b"") if segment is None else memory_of(segment)
            _serve(worker_id, setup.packed, memory.toreadonly(), tasks, closed, outbox)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the parent is gone
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _listen(inbox: Connection, tasks: queue.SimpleQueue[Any], closed: threading.Event) -> None:
    """Read messages as they come, so that the parent never waits to send one."""
    try:
        while True:
            tasks.put(inbox.recv())
    except (EOFError, OSError):
        closed.set()
        tasks.put(None)


def _serve(
    worker_id: int,
    packed: Packed,
    memory: memoryview,
    tasks: queue.SimpleQueue[Any],
    closed: threading.Event,
    outbox: Connection,
) -> None:
    broken: Failure | None = None
    try:
        dataset, collate_fn, worker_init_fn = unpack(packed, memory)
        if worker_init_fn is not None:
            worker_init_fn(worker_id)
    except Exception as error:
        broken = _failure(error)
    slots: dict[int, SharedMemory] = {}
    while (task := tasks.get()) is not None and not closed.is_set():
        answer: Reply | Failure
        if broken is not None:
            answer = broken
        else:
            try:
                batch = fetch(dataset, task.indices, task.key, collate_fn)
                answer = _reply(batch, task, slots)
            except Exception as error:
                answer = _failure(error)
        outbox.send(answer)


def _reply(batch: Any, task: Task, slots: dict[int, SharedMemory]) -> Reply:
    packed, contents = pack(batch)
    memory = slots.get(task.slot)
    if task.segment is not None and (memory is None or memory.name != task.segment):
        if memory is not None:
            memory.close()
        memory = slots[task.slot] = SharedMemory(task.segment)
    if task.segment is not None and memory is not None and packed.nbytes <= memory.size:
        write(memory_of(memory), contents)
        return Reply(packed, None)
    inline = bytearray(packed.nbytes)
    write(memoryview(inline), contents)
    return Reply(packed, bytes(inline))


def _failure(error: Exception) -> Failure:
    trace = traceback.format_exc()
    try:
        pickled = pickle.dumps(error)
        pickle.loads(pickled)
    except Exception:
        pickled = None
    return Failure(pickled, f"{type(error).__name__}: {error}", trace)
