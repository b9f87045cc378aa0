"""CUDA graphs: what was launched once is launched again, at the host's price of one launch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from nnlab.backend import Device, get_backend
from nnlab.backend.graphs import Numbers
from nnlab.errors import CaptureError, DeviceError, complaint
from nnlab.random import default_generator


class CUDAGraph:
    """The launches of a piece of a program, recorded to be run again with the same arrays.

    >>> g = nnlab.cuda.CUDAGraph()
    >>> with g.warmup():
    ...     step()  # as always; from now on everything that it needs is there
    >>> with nnlab.cuda.graph(g):
    ...     step()  # recorded, not run
    >>> static_images.copy_(images)
    >>> g.replay(optimizer.step)

    Inside ``graph`` nothing may be looked at on the host or come from there. Draws of the default generator
    go on from replay to replay as they would without a graph. So do an optimizer's rates and counts, if its ``step`` is
    handed to :meth:`replay`. All other numbers are those of the recording, and so is what Python decided then.

    A graph keeps the memory of all intermediate results as long as it lives.

    Args:
        device: ``cuda`` or ``emulated``, where graphs can be tried without a GPU.

    Raises:
        DeviceError: the device has no graphs.
    """

    def __init__(self, device: str | Device = "cuda") -> None:
        self._be: Any = get_backend(device)
        if not hasattr(self._be, "recording"):
            raise DeviceError(complaint("CUDAGraph", "device", "be one that has graphs (cuda, emulated)", str(device)))
        self._recording = self._be.recording()
        self._numbers = Numbers(self._be, self._recording)
        self._base = self._count = 0  # of the default generator: the first draw recorded, and how many
        self._begun = self._ready = False

    def warmup(self) -> AbstractContextManager[None]:
        """Context in which a step is run as always, in the memory that the graph will use."""
        working: AbstractContextManager[None] = self._recording.working
        return working

    @contextmanager
    def record(self, tensors: Sequence[Any] = ()) -> Iterator[None]:
        """Context that records; see :func:`graph`."""
        if self._begun:
            raise CaptureError("[CUDAGraph] a graph is recorded once; make a new one")
        self._begun = True
        before = default_generator.get_state()
        try:
            with self._numbers.record(), self._recording.recorded(tensors):
                yield
            self._base, self._count = before["offset"], default_generator.offset - before["offset"]
            for seed, offset in self._numbers.draws():
                if seed != default_generator.seed or not 0 <= offset - self._base < self._count:
                    raise CaptureError("[graph] the step draws from a generator of its own")
        finally:
            default_generator.set_state(before)  # what was recorded has not been run
        self._ready = True

    def replay(self, update: Callable[[], Any] | None = None) -> None:
        """Run what was recorded.

        Args:
            update: the ``step`` of an optimizer that was recorded: only its numbers are taken (rates, counts).

        Raises:
            nnlab.backend.graphs.Changed: the update is not the one that was recorded; nothing was run.
        """
        if not self._ready:
            raise CaptureError("[CUDAGraph] nothing was recorded")
        if update is not None:
            with self._numbers.renew():
                update()
        self._numbers.draw_again(default_generator.seed, default_generator.offset - self._base)
        default_generator.offset += self._count
        with self._recording.working:
            self._numbers.write()
            self._recording.launch()


@contextmanager
def graph(cuda_graph: CUDAGraph, tensors: Sequence[Any] = ()) -> Iterator[None]:
    """Record what is launched inside the context into a graph; nothing is run.

    Args:
        cuda_graph: a new one.
        tensors: on ``emulated``, the Tensors from before that are used inside; ``cuda`` needs none of them.

    Raises:
        CaptureError: the step does something that cannot be recorded; the message says what.
    """
    with cuda_graph.record(tensors):
        yield
