"""Sequences of several lengths in one batch: padded (T, B, ...), or packed without the padding.

A :class:`PackedSequence` holds, step by step, the rows of those sequences that have not ended, the longest first. Where
the rows of a batch go is computed on the host from the lengths; lengths and orders are therefore always CPU tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nnlab.autograd import Tensor
from nnlab.autograd.creation import from_numpy
from nnlab.autograd.recurrent import put_rows, take_rows
from nnlab.autograd.shape import cat
from nnlab.errors import ArgumentError, DtypeError, ShapeError, complaint


class _Fields(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Fields):
    """Sequences of several lengths without padding; made by :func:`pack_padded_sequence` or :func:`pack_sequence`.

    Attributes:
        data: (sum of the lengths, ...): the rows of step 0, then those of step 1, ...
        batch_sizes: int64 (T,) on the CPU: how many sequences have a row at each step.
        sorted_indices: int64 (B,) on the CPU: place in the original batch of each sequence, the longest first; None if
            the batch was given in that order.
        unsorted_indices: the inverse.
    """

    __slots__ = ()

    def __new__(
        cls,
        data: Tensor,
        batch_sizes: Tensor,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        for name, value in (("data", data), ("batch_sizes", batch_sizes)):
            if not isinstance(value, Tensor):
                raise DtypeError(complaint("PackedSequence", name, "be a Tensor", type(value).__name__))
        counts = batch_sizes.cpu().numpy()
        falling = counts.ndim == 1 and counts.size > 0 and counts[-1] > 0 and (np.diff(counts) <= 0).all()
        if not falling or counts.dtype.kind not in "iu":
            raise ArgumentError(
                complaint("PackedSequence", "batch_sizes", "be positive ints that do not rise", counts.tolist())
            )
        if data.ndim == 0 or data.shape[0] != counts.sum():
            must = f"have as many rows as 'batch_sizes' adds up to, {counts.sum()}"
            raise ShapeError(complaint("PackedSequence", "data", must, tuple(data.shape)))
        for name, order in (("sorted_indices", sorted_indices), ("unsorted_indices", unsorted_indices)):
            if order is not None and not np.array_equal(np.sort(order.cpu().numpy()), np.arange(counts[0])):
                must = f"name each of {counts[0]} sequences once"
                raise ArgumentError(complaint("PackedSequence", name, must, order.tolist()))
        if sorted_indices is None and unsorted_indices is not None:
            sorted_indices = _inverse(unsorted_indices)
        elif sorted_indices is not None and unsorted_indices is None:
            unsorted_indices = _inverse(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def _with(self, data: Tensor) -> PackedSequence:
        return self if data is self.data else type(self)(data, *self[1:])

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same with ``data.to(...)``; sizes and orders stay on the CPU."""
        return self._with(self.data.to(*args, **kwargs))

    def cpu(self) -> PackedSequence:
        """The same with the data on the CPU."""
        return self.to("cpu")

    def cuda(self, device: int = 0) -> PackedSequence:
        """The same with the data on a GPU."""
        return self.to(f"cuda:{device}")

    def float(self) -> PackedSequence:
        """The same in float32."""
        return self.to(dtype="float32")

    def double(self) -> PackedSequence:
        """The same in float64."""
        return self.to(dtype="float64")

    def half(self) -> PackedSequence:
        """The same in float16."""
        return self.to(dtype="float16")


def _inverse(order: Tensor) -> Tensor:
    return from_numpy(np.argsort(order.cpu().numpy()))


def _rows(counts: np.ndarray, order: Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """(step, place in the original batch) of each row of a packed sequence."""
    steps = np.repeat(np.arange(len(counts)), counts)
    places = np.concatenate([np.arange(count) for count in counts])
    return steps, places if order is None else order.cpu().numpy()[places]


def lengths_of(packed: PackedSequence) -> np.ndarray:
    """The lengths (B,) in the order of the original batch."""
    counts = packed.batch_sizes.cpu().numpy()
    falling = (counts[None, :] > np.arange(counts[0])[:, None]).sum(axis=1)
    return falling if packed.unsorted_indices is None else falling[packed.unsorted_indices.cpu().numpy()]


def unpack(packed: PackedSequence, steps: int | None = None, value: float = 0.0) -> Tensor:
    """(T, B, ...) in the order of the original batch, ``value`` where a sequence has ended."""
    counts = packed.batch_sizes.cpu().numpy()
    t, b = _rows(counts, packed.sorted_indices)
    steps, batch = steps or len(counts), int(counts[0])
    flat = put_rows(packed.data, t * batch + b, steps * batch, value)
    return flat.reshape(steps, batch, *packed.data.shape[1:])


def pack_like(padded: Tensor, packed: PackedSequence) -> PackedSequence:
    """The rows of (T, B, ...) that :func:`unpack` would put there, as a packed sequence."""
    counts = packed.batch_sizes.cpu().numpy()
    t, b = _rows(counts, packed.sorted_indices)
    batch = padded.shape[1]
    data = take_rows(padded.reshape(-1, *padded.shape[2:]), t * batch + b)
    return PackedSequence(data, *packed[1:])


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Take the padding out of a batch.

    Args:
        input: (T, B, ...), with ``batch_first`` (B, T, ...).
        lengths: B positive ints (a list, or a CPU tensor), none above T.
        enforce_sorted: the lengths must not rise; otherwise the sequences are sorted, the longest first (those of one
            length in their order), and the order is kept in the result.

    Raises:
        ShapeError, ArgumentError: the lengths do not fit the input, or rise with ``enforce_sorted``.
    """
    name = "pack_padded_sequence"
    if input.ndim < 2:
        shape = "(B, T, ...)" if batch_first else "(T, B, ...)"
        raise ShapeError(complaint(name, "input", f"have shape {shape}", tuple(input.shape)))
    batch, steps = tuple(input.shape[:2]) if batch_first else (input.shape[1], input.shape[0])
    given = lengths.cpu().numpy() if isinstance(lengths, Tensor) else np.asarray(lengths)
    if given.shape != (batch,) or given.dtype.kind not in "iu" or batch == 0:
        raise ShapeError(complaint(name, "lengths", f"be {batch} ints, one a sequence", given.tolist()))
    if given.min() < 1 or given.max() > steps:
        raise ArgumentError(complaint(name, "lengths", f"be between 1 and the input's {steps} steps", given.tolist()))
    order: Tensor | None = None
    if not enforce_sorted:
        order = from_numpy(np.argsort(-given.astype(np.int64), kind="stable"))
        falling = given[order.numpy()]
    elif (np.diff(given.astype(np.int64)) > 0).any():
        must = "not rise (or pass enforce_sorted=False)"
        raise ArgumentError(complaint(name, "lengths", must, given.tolist()))
    else:
        falling = given
    counts = (falling[None, :] > np.arange(falling[0])[:, None]).sum(axis=1).astype(np.int64)
    t, b = _rows(counts, order)
    data = take_rows(input.reshape(batch * steps, *input.shape[2:]), b * steps + t if batch_first else t * batch + b)
    return PackedSequence(data, from_numpy(counts), order)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """(padded, lengths): the inverse of :func:`pack_padded_sequence`, in the order of the original batch.

    Args:
        batch_first: give (B, T, ...) instead of (T, B, ...).
        padding_value: what stands where a sequence has ended.
        total_length: T; default: the longest length.

    Raises:
        ArgumentError: ``total_length`` is less than the longest length.
    """
    longest = len(sequence.batch_sizes)
    if total_length is not None and total_length < longest:
        must = f"be at least the longest length, {longest}"
        raise ArgumentError(complaint("pad_packed_sequence", "total_length", must, total_length))
    padded = unpack(sequence, total_length, padding_value)
    return padded.transpose(0, 1) if batch_first else padded, from_numpy(lengths_of(sequence))


def pad_sequence(
    sequences: Sequence[Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Stack sequences (L_i, ...) of several lengths: (T, B, ...) with T the longest, or (B, T, ...).

    Args:
        padding_value: what fills the shorter ones up.
        padding_side: "right" (after a sequence) or "left" (before it).

    Raises:
        ShapeError, ArgumentError: no sequences, their other sizes differ, or an unknown side.
    """
    name, listed = "pad_sequence", list(sequences)
    if padding_side not in ("right", "left"):
        raise ArgumentError(complaint(name, "padding_side", "be 'right' or 'left'", padding_side))
    shapes = [tuple(s.shape) for s in listed]
    if not listed or any(not shape or shape[1:] != shapes[0][1:] for shape in shapes):
        raise ShapeError(complaint(name, "sequences", "be tensors (L, ...) that differ in L alone", shapes))
    lengths = np.array([shape[0] for shape in shapes])
    steps, batch = int(lengths.max()), len(listed)
    starts = steps - lengths if padding_side == "left" else np.zeros_like(lengths)
    t = np.concatenate([start + np.arange(length) for start, length in zip(starts, lengths)])
    flat = put_rows(cat(listed), t * batch + np.repeat(np.arange(batch), lengths), steps * batch, padding_value)
    padded = flat.reshape(steps, batch, *shapes[0][1:])
    return padded.transpose(0, 1) if batch_first else padded


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (L_i, ...) of several lengths; see :func:`pack_padded_sequence`."""
    lengths = [len(s) for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)
