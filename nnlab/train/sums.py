"""Running statistics of a training epoch, kept on the device so that adding to them never waits for it."""

from __future__ import annotations

from typing import Any

from nnlab.autograd import Tensor, no_grad
from nnlab.autograd.creation import tensor
from nnlab.backend import Device


def examples(target: Tensor) -> int:
    """How many examples a batch's loss is the mean of: class numbers (N,) or (N, ...) are one each, else N."""
    return target.numel() if target.dtype.kind in "iu" else target.shape[0]


class Sums:
    """Sums over the examples of an epoch so far; saved with a checkpoint, so that a resumed epoch's means are the same.

    Attributes:
        examples: examples seen.
        classified: whether right answers are counted.
        seconds: time spent on them.
    """

    def __init__(
        self,
        device: Device,
        *,
        loss: float = 0.0,
        correct: int | None = None,
        examples: int = 0,
        seconds: float = 0.0,
    ) -> None:
        self._loss = tensor(loss, dtype="float64", device=device)
        self._correct = tensor(correct or 0, dtype="int64", device=device)
        self.classified = correct is not None
        self.examples, self.seconds = examples, seconds

    def restart(
        self, *, loss: float = 0.0, correct: int | None = None, examples: int = 0, seconds: float = 0.0
    ) -> None:
        """Begin anew, or where another one was, in the same memory (a graph adds to that)."""
        self._loss.fill_(loss)
        self._correct.fill_(correct or 0)
        self.classified = correct is not None
        self.examples, self.seconds = examples, seconds

    def tensors(self) -> tuple[Tensor, Tensor]:
        """The sums on the device."""
        return self._loss, self._correct

    def counted(self, examples: int, classified: bool) -> None:
        """Batches were added by a graph."""
        self.examples += examples
        self.classified = self.classified or classified

    def add(self, loss: Tensor, output: Tensor, target: Tensor) -> None:
        """Add a batch with its mean loss."""
        n = examples(target)
        with no_grad():
            self._loss += loss.detach().double() * n
            if target.dtype.kind in "iu" and output.ndim > 1 and output[:, 0].shape == target.shape:
                self._correct += (output.detach().argmax(1) == target).sum()
                self.classified = True
        self.examples += n

    @property
    def loss(self) -> float:
        """Mean loss; NaN or infinite from the first such batch on (waits for the GPU)."""
        return float(self._loss.item()) / max(self.examples, 1)

    @property
    def accuracy(self) -> float | None:
        """Share of right answers (waits for the GPU), None if this is no classification."""
        return int(self._correct.item()) / max(self.examples, 1) if self.classified else None

    def state(self) -> dict[str, Any]:
        """What the constructor takes to continue."""
        return {
            "loss": float(self._loss.item()),
            "correct": int(self._correct.item()) if self.classified else None,
            "examples": self.examples,
            "seconds": self.seconds,
        }
