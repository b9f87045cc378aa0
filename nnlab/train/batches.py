"""The batches that a Trainer sees: all of a loader's, or only the first few."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from nnlab.autograd import Tensor
from nnlab.data.collate import to_arrays

Batch = tuple[Tensor, Tensor]


class Batches:
    """A loader, from any batch of any epoch on.

    Args:
        loader: a DataLoader, or any sized iterable of batches in a fixed order.
        limit: give no more than so many batches an epoch.
        fixed: give these batches instead, in every epoch.
    """

    def __init__(self, loader: Any, *, limit: int | None = None, fixed: list[Batch] | None = None) -> None:
        self.loader = loader
        self.fixed = fixed
        n = len(loader if fixed is None else fixed)
        self.count = n if limit is None else min(n, limit)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Batch]:
        return islice(self.loader if self.fixed is None else self.fixed, self.count)

    def starting(self, epoch: int, batch: int) -> Iterator[Batch]:
        """The batches of an epoch from one on; a DataLoader does not even load those before."""
        if self.fixed is not None or not hasattr(self.loader, "load_state_dict"):
            return islice(self, batch, None)
        self.loader.load_state_dict({**self.loader.state_dict(), "epoch": epoch, "batches": batch})
        return islice(self.loader, self.count - batch)

    def image(self, place: int) -> np.ndarray:
        """The input ``(C, H, W)`` of an example by its place in the order of an unshuffled loader."""
        if self.fixed is None:
            found: np.ndarray = to_arrays(self.loader.dataset[place][0])
            return found
        return np.concatenate([to_arrays(images) for images, _ in self.fixed])[place]

    def identity(self) -> dict[str, Any]:
        """What must be the same when a run is resumed: batches an epoch; set size, batch size and seed if known."""
        state = self.loader.state_dict() if hasattr(self.loader, "state_dict") else {}
        return {"batches_per_epoch": self.count, **{k: v for k, v in state.items() if k not in ("epoch", "batches")}}

    def close(self) -> None:
        """End the loader's worker processes."""
        if hasattr(self.loader, "close"):
            self.loader.close()
