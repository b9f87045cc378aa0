"""Steps that are recorded once and run again: what of them changes from run to run.

A recorded step repeats the launches that were recorded, with the arguments that they had. So a number that is another
one in each step (a rate, a draw of random numbers) may be no argument: it lies in device memory, at a place that it got
when the step was recorded, and is written anew before each run. Kernels read such numbers from device memory always,
recorded or not, so that there is one way.

What the host does between launches is not repeated. Where an operation would look at values on the host, or bring
values from there, :func:`refuse` raises while a step is recorded.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from nnlab.backend import Backend
from nnlab.errors import CaptureError

ROOM = 1 << 14  # numbers of a step, 8 bytes each


class Recording(Protocol):
    """The launches of a step, as a backend's ``recording()`` records them."""

    @property
    def working(self) -> Any:
        """Context of steps that are run as always, before the first recording: its memory is then the recording's."""

    def recorded(self, arrays: Sequence[Any]) -> Any:
        """Context in which all that is launched is recorded, and not run.

        Args:
            arrays: Tensors (their arrays are what counts) that exist before; ``emulated`` must know them.
        """

    def view(self, array: Any) -> Any:
        """An array, as what reads it inside ``recorded`` must see it."""

    def launch(self) -> None:
        """Run what was recorded."""


class Changed(Exception):
    """A recorded step does not fit any more; says why."""


class _State(threading.local):
    numbers: Numbers | None = None


_state = _State()


def recording() -> bool:
    """Whether this thread is recording a step (or renewing its numbers)."""
    return _state.numbers is not None


def refuse(what: str) -> None:
    """Raise if this thread is recording a step.

    Raises:
        CaptureError: ``what`` the step does that cannot be recorded.
    """
    if _state.numbers is not None:
        raise CaptureError(f"[graph] the step {what}")


class Numbers:
    """The numbers of a recorded step that change from run to run.

    While the step is recorded each call of :func:`numbers` and :func:`draw` gets a place in device memory. Later
    :meth:`renew` makes a context in which the host's part of an update runs again: calls come in the same order, leave
    their new values and nothing else happens.
    """

    def __init__(self, be: Backend, recording: Recording) -> None:
        self._be, self._recording = be, recording
        self._host = np.zeros(ROOM, np.uint64)
        self._device = be.asarray(self._host)
        self._used = 0
        self._draws: list[tuple[int, int, int]] = []  # place, seed, offset
        self._calls: list[tuple[int, int, Any]] = []  # of numbers(): first and last place, what must stay
        self._next: int | None = None  # the call that comes next, while renewing
        self._kept: list[Any] = []  # arrays whose identity counts

    @contextmanager
    def record(self) -> Iterator[None]:
        """Context in which places are given out."""
        if _state.numbers is not None:
            raise CaptureError("[graph] a step is being recorded already")
        _state.numbers = self
        try:
            yield
        finally:
            _state.numbers = None

    @contextmanager
    def renew(self) -> Iterator[None]:
        """Context in which only the values of :func:`numbers` are taken.

        Raises:
            Changed: calls were not those that were recorded.
        """
        self._next = 0
        try:
            with self.record():
                yield
            if self._next != len(self._calls):
                raise Changed("an optimizer updates less than before")
        finally:
            self._next = None

    def draw_again(self, seed: int, shift: int) -> None:
        """Let the draws of the next run be so many further on.

        Args:
            seed: of all of them.
            shift: from the number of the draw that was recorded.
        """
        for place, _, offset in self._draws:
            self._host[place : place + 2] = seed, (offset + shift) % 2**64

    def draws(self) -> list[tuple[int, int]]:
        """(seed, offset) of the draws that were recorded."""
        return [(seed, offset) for _, seed, offset in self._draws]

    def write(self) -> None:
        """Bring the numbers into device memory."""
        if self._used:
            self._device[: self._used] = self._be.asarray(self._host[: self._used])

    def _place(self, values: Any) -> Any:
        start, self._used = self._used, self._used + len(values)
        if self._used > ROOM:
            raise CaptureError(f"[graph] the step has more than {ROOM} numbers that change")
        self._host[start : self._used] = values
        return self._recording.view(self._device[start : self._used])

    def numbers(self, values: Sequence[float], arrays: Sequence[Any], fixed: tuple[Any, ...]) -> Any:
        bits = np.array(values, np.float64).view(np.uint64)
        own = [getattr(array, "original", array) for array in arrays]
        must = (len(values), fixed, tuple(map(id, own)))
        if self._next is None:
            start = self._used
            place = self._place(bits).view(np.float64)
            self._calls.append((start, self._used, must))
            self._kept += own
            return place
        if self._next == len(self._calls):
            raise Changed("an optimizer updates more than before")
        start, end, before = self._calls[self._next]
        if must != before:
            raise Changed("an optimizer has other arrays or options than before")
        self._host[start:end] = bits
        self._next += 1
        return None

    def draw(self, seed: int, offset: int) -> Any:
        if self._next is not None:
            raise Changed("an update draws random numbers")
        self._draws.append((self._used, seed, offset))
        return self._place(np.array([seed, offset], np.uint64))


def numbers(be: Backend, values: Sequence[float], *, arrays: Sequence[Any] = (), flags: tuple[Any, ...] = ()) -> Any:
    """Numbers of an update that may be others in the next step, as a float64 array of the device.

    Args:
        be: the device's backend.
        values: the numbers.
        arrays, flags: all else that says what the update does; a recorded one does only for the same.

    Returns:
        The array; None while a recorded step's numbers are renewed: then the caller must launch nothing.
    """
    if _state.numbers is None:
        return be.asarray(np.array(values, np.float64))
    return _state.numbers.numbers(values, arrays, flags)


def draw(be: Backend, seed: int, offset: int) -> Any:
    """Seed and number of a draw of random numbers as a uint64 array of the device."""
    if _state.numbers is None:
        return be.asarray(np.array([seed, offset], np.uint64))
    return _state.numbers.draw(seed, offset)
