"""A text as batches of sequences that go on where those of the batch before ended."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnlab.autograd import Tensor
from nnlab.autograd.creation import from_numpy
from nnlab.errors import ArgumentError, DataError, complaint

_ALONE = 100_000  # characters that are read as one stream in an evaluation
_STEPS = 512


class TextStreams:
    """Batches for truncated backpropagation through time: pieces of a text, read side by side.

    The text is cut into N streams of L = (len(ids) - 1) // N characters; what is left at its end is not used. Batch k
    is (x, y), int64 (N, T) each: x[n] holds the characters k * T ... of stream n, y[n] those that follow each of them.
    The last batch has the L % T characters that remain, if there are any. A network that carries its state from batch
    to batch so reads each stream as a whole. The order is the same in every epoch.

    Args:
        ids: the characters' numbers (len,).
        streams: N.
        length: T.

    Raises:
        ArgumentError: N or T is not positive.
        DataError: there are fewer than N + 1 characters.
    """

    def __init__(self, ids: NDArray[np.integer], streams: int, length: int) -> None:
        for name, value in (("streams", streams), ("length", length)):
            if value < 1:
                raise ArgumentError(complaint("TextStreams", name, "be positive", value))
        if len(ids) <= streams:
            must = f"hold more characters than there are streams ({streams})"
            raise DataError(complaint("TextStreams", "ids", must, f"{len(ids)} characters"))
        self.ids, self.streams, self.length = ids, streams, length
        self.steps = (len(ids) - 1) // streams

    def __len__(self) -> int:
        return -(-self.steps // self.length)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        used = self.streams * self.steps
        x, y = (self.ids[start : start + used].reshape(self.streams, self.steps) for start in (0, 1))
        for start in range(0, self.steps, self.length):
            part = slice(start, start + self.length)
            yield from_numpy(x[:, part].astype(np.int64)), from_numpy(y[:, part].astype(np.int64))

    def state_dict(self) -> dict[str, Any]:
        """What must be the same when a run is resumed."""
        digest = hashlib.sha256(np.ascontiguousarray(self.ids).tobytes()).hexdigest()
        return {"characters": len(self.ids), "streams": self.streams, "length": self.length, "sha256": digest}


def for_evaluation(ids: NDArray[np.integer]) -> TextStreams:
    """The batches of an evaluation: a text of less than 200,000 characters as one stream, longer ones as several.

    Only a stream's first characters are guessed without what stands before them. With a stream of 100,000 characters
    that adds less than 0.001 bits to the mean.
    """
    return TextStreams(ids, max(1, len(ids) // _ALONE), _STEPS)
