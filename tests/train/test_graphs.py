"""Steps of the Trainer as graphs, on the device ``emulated``: same bits as without, and nothing is launched by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import make_trainer, pictures

import nnlab
from nnlab import nn, optim
from nnlab.data import ArrayImages, DataLoader, transforms
from nnlab.models import lenet
from nnlab.optim import lr_scheduler
from nnlab.train import Callback, Trainer
from tests import emulator

EMULATED = emulator.backend()


class Notes(Callback):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_note(self, trainer: Trainer, text: str) -> None:
        self.texts.append(text)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.3), nn.Flatten(), nn.Linear(64, 12),
        nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, 3),
    )  # fmt: skip


OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3),
    "adam": lambda p: optim.Adam(p, lr=0.01, amsgrad=True),
}


def run(
    folder: Path,
    graph: bool,
    *,
    optimizer: str = "sgd",
    model: nn.Module | None = None,
    epochs: int = 3,
    **options: Any,
) -> tuple[Trainer, Notes]:
    """A Trainer for 6 batches of 8 pictures and one of 6, in each of the epochs."""
    nnlab.manual_seed(3)
    normalise = transforms.Normalize([0.4], [0.25])
    loader = DataLoader(ArrayImages(*pictures(54, 1), ["a", "b", "c"], transform=normalise), 8, shuffle=True, seed=5)
    model = network() if model is None else model
    chosen = OPTIMIZERS[optimizer](model.named_parameters())
    notes = Notes()
    settings: dict[str, Any] = {"clip_norm": 1.0, "poll_every": 5, "callbacks": [notes], **options}
    scheduler = lr_scheduler.CosineAnnealingLR(chosen, T_max=30)
    trainer = Trainer(
        model,
        chosen,
        loader,
        epochs=epochs,
        scheduler=scheduler,
        out=folder,
        device="emulated",
        graph=graph,
        **settings,
    )
    return trainer, notes


def state(trainer: Trainer) -> dict[str, np.ndarray]:
    found = {name: value.detach().cpu().numpy() for name, value in trainer.model.state_dict().items()}
    for key, entry in trainer.optimizer.state_dict()["state"].items():
        found |= {f"{key}.{n}": np.asarray(v.cpu().numpy() if hasattr(v, "cpu") else v) for n, v in entry.items()}
    return found


def same(one: Trainer, other: Trainer) -> None:
    a, b = state(one), state(other)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], name)
    drop = ("seconds", "examples_per_second")
    assert [{k: v for k, v in row.items() if k not in drop} for row in one.history] == [
        {k: v for k, v in row.items() if k not in drop} for row in other.history
    ]


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_same_bits(tmp_path: Path, optimizer: str, accumulate: int) -> None:
    options: dict[str, Any] = {"optimizer": optimizer, "accumulate": accumulate}
    plain, _ = run(tmp_path / "plain", False, **options)
    plain.fit()
    graph, notes = run(tmp_path / "graph", True, **options)
    graph.fit()
    assert notes.texts == []
    assert len(graph.graphs.steps) == 2  # of whole batches, and of those with the short one
    assert all(step.ready for step in graph.graphs.steps.values())
    same(plain, graph)
