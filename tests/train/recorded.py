"""What steps with and without graphs are compared by."""

from __future__ import annotations

from typing import Any

import numpy as np

import nnlab
from nnlab.train import Callback, Trainer


class Notes(Callback):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_note(self, trainer: Trainer, text: str) -> None:
        self.texts.append(text)


def state(trainer: Trainer) -> dict[str, Any]:
    """Weights, the optimizer's state, what the model carries from batch to batch, the loss scale."""
    found = dict(trainer.model.state_dict())
    for key, entry in trainer.optimizer.state_dict()["state"].items():
        found |= {f"{key}.{name}": value for name, value in entry.items()}
    for path, module in trainer.model.named_modules():
        found |= {f"{path}.{name}": getattr(module, name) for name in module.carried}
    found |= trainer.precision.scaler.state_dict()
    return {name: v.detach().cpu().numpy() if isinstance(v, nnlab.Tensor) else v for name, v in found.items()}


def same(one: Trainer, other: Trainer) -> None:
    """The same bits, of the last gradients too, and the same rows of the log."""
    a, b = state(one), state(other)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], name)
    for p, q in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None:
            np.testing.assert_array_equal(p.grad.cpu().numpy(), q.grad.cpu().numpy())
    drop = ("seconds", "examples_per_second")
    rows, others = ([{k: v for k, v in row.items() if k not in drop} for row in t.history] for t in (one, other))
    assert rows == others
