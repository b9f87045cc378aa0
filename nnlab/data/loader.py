"""Batches for training: order, prefetch, workers and resume."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, Self

from nnlab.data.collate import to_tensors
from nnlab.data.dataset import as_dataset
from nnlab.data.key import SampleKey
from nnlab.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler
from nnlab.data.worker import Collate, fetch
from nnlab.data.workers import WorkerPool
from nnlab.errors import ArgumentError, complaint
from nnlab.random import default_generator

START_METHODS = ("spawn", "forkserver")


class DataLoader:
    """Iterate over a data set in batches of CPU Tensors.

    The batches of an epoch are a function of (data set, seed, epoch) alone: their order and every augmentation are the
    same with any number of workers, with or without prefetching, and after a resume. The epoch advances by itself when
    an iteration reaches its end; :meth:`set_epoch` chooses it.

    Args:
        dataset: a :class:`Dataset`, or anything with a length and an index.
        batch_size: samples a batch. Default 1.
        shuffle: a new order in each epoch. Default False.
        sampler: where the indices come from, instead of ``shuffle``.
        batch_sampler: where lists of indices come from, instead of ``batch_size``, ``shuffle``, ``sampler``,
            ``drop_last``. One with a method ``set_epoch`` is told the epoch.
        num_workers: processes that load batches; 0 loads in this process. Default 0.
        collate_fn: list of samples -> batch; arrays in the result become Tensors. Default: as
            :func:`default_collate`, through the data set's ``batch``.
        drop_last: leave out the last batch if it is smaller. Default False.
        timeout: seconds to wait for a worker's batch; 0 waits as long as the worker lives. Default 0.
        worker_init_fn: called with the worker's number when it starts.
        multiprocessing_context: "spawn" or "forkserver" ("fork" breaks CUDA and threads). Default "spawn".
        prefetch_factor: batches to load ahead, for each worker or for the background thread. Default 2.
        persistent_workers: keep the workers between epochs, until :meth:`close`. Default False.
        background_thread: with ``num_workers=0``, load ahead in a thread. Default False.
        seed: of order and augmentation. Default: the seed of ``nnlab.manual_seed`` at this moment.

    Raises:
        ArgumentError: contradictory or impossible arguments.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        sampler: Sampler | Iterable[int] | None = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Collate | None = None,
        *,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: str = "spawn",
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        background_thread: bool = False,
        seed: int | None = None,
    ) -> None:
        for name, value, lowest in (("num_workers", num_workers, 0), ("timeout", timeout, 0)):
            if value < lowest:
                raise ArgumentError(complaint("DataLoader", name, "not be negative", value))
        if prefetch_factor is not None and prefetch_factor < 1:
            raise ArgumentError(complaint("DataLoader", "prefetch_factor", "be positive", prefetch_factor))
        if multiprocessing_context not in START_METHODS:
            must = f"be one of {START_METHODS}"
            raise ArgumentError(complaint("DataLoader", "multiprocessing_context", must, multiprocessing_context))
        if sampler is not None and shuffle:
            raise ArgumentError(complaint("DataLoader", "shuffle", "be False with a sampler", shuffle))
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
            raise ArgumentError(
                "[DataLoader] 'batch_sampler' must come without batch_size, shuffle, sampler and drop_last"
            )
        if background_thread and num_workers:
            raise ArgumentError(complaint("DataLoader", "background_thread", "come with num_workers=0", num_workers))
        self.dataset = as_dataset(dataset)
        self.seed = default_generator.seed if seed is None else seed
        if sampler is None and batch_sampler is None:
            sampler = RandomSampler(self.dataset, seed=self.seed) if shuffle else SequentialSampler(self.dataset)
        self.sampler = sampler
        self.batch_sampler = BatchSampler(sampler, batch_size, drop_last) if batch_sampler is None else batch_sampler
        self.batch_size = batch_size if batch_sampler is None else None
        self.drop_last = drop_last
        self.num_workers = num_workers
        self.collate_fn = collate_fn
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.prefetch_factor = 2 if prefetch_factor is None else prefetch_factor
        self.persistent_workers = persistent_workers
        self.background_thread = background_thread
        self.epoch = 0
        self._consumed = 0  # batches of this epoch that were given out
        self._skip = 0  # batches of this epoch that the next iteration leaves out
        self._pool: WorkerPool | None = None

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.batch_sampler)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; a position in this epoch from :meth:`load_state_dict` is kept."""
        if epoch < 0:
            raise ArgumentError(complaint("DataLoader", "epoch", "not be negative", epoch))
        if epoch != self.epoch:
            self.epoch = epoch
            self._consumed = self._skip = 0

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is: after the batches given out so far. JSON-able."""
        return {
            "epoch": self.epoch,
            "batches": self._consumed,
            "seed": self.seed,
            "samples": len(self.dataset),
            "batch_size": self.batch_size,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a position: the next iteration gives the rest of that epoch, without loading what came before.

        Raises:
            ArgumentError: the position is of another data set size, batch size or seed.
        """
        own = self.state_dict()
        for name in ("samples", "batch_size", "seed"):
            if state[name] != own[name]:
                raise ArgumentError(complaint("DataLoader", name, f"be {state[name]!r} to resume", own[name]))
        self.epoch = int(state["epoch"])
        self._consumed = self._skip = int(state["batches"])

    def __iter__(self) -> Iterator[Any]:
        skip, self._skip = self._skip, 0
        self._consumed = skip
        if hasattr(self.batch_sampler, "set_epoch"):
            self.batch_sampler.set_epoch(self.epoch)
        batches = islice(iter(self.batch_sampler), skip, None)
        key = SampleKey(self.seed, self.epoch)
        if self.num_workers:
            source = self._from_workers(batches, key)
        elif self.background_thread:
            source = self._from_thread(batches, key)
        else:
            source = (fetch(self.dataset, indices, key, self.collate_fn) for indices in batches)
        return self._give_out(source, self.epoch)

    def _give_out(self, source: Iterator[Any], epoch: int) -> Iterator[Any]:
        for batch in source:
            self._consumed += 1
            yield to_tensors(batch)
        self.set_epoch(epoch + 1)

    def _from_thread(self, batches: Iterator[list[int]], key: SampleKey) -> Iterator[Any]:
        executor = ThreadPoolExecutor(1, thread_name_prefix="nnlab-data")
        try:
            ahead: deque[Future[Any]] = deque()
            while True:
                for indices in islice(batches, self.prefetch_factor - len(ahead)):
                    ahead.append(executor.submit(fetch, self.dataset, indices, key, self.collate_fn))
                if not ahead:
                    return
                yield ahead.popleft().result()
        finally:
            executor.shutdown(cancel_futures=True)

    def _from_workers(self, batches: Iterator[list[int]], key: SampleKey) -> Iterator[Any]:
        if self._pool is None:
            self._pool = WorkerPool(
                self.dataset,
                self.collate_fn,
                self.worker_init_fn,
                self.num_workers,
                self.prefetch_factor,
                self.timeout,
                self.multiprocessing_context,
            )
        try:
            yield from self._pool.run(batches, key)
        finally:
            if not self.persistent_workers:
                self.close()

    def close(self) -> None:
        """End the worker processes and free their memory; the next iteration starts new ones."""
        if self._pool is not None:
            self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
