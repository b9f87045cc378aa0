"""Character models with steps as graphs, on the device ``emulated``: state goes from batch to batch as without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn, optim
from nnlab.cuda import launch
from nnlab.optim import lr_scheduler
from nnlab.text import BitsPerCharacter, CharModel, TextStreams
from nnlab.train import Callback, Trainer
from tests import emulator
from tests.train.recorded import Notes, same, state

EMULATED = emulator.backend()


def characters(**options: Any) -> nn.Module:
    return CharModel(5, **{"embedding_dim": 3, "hidden_size": 6, "num_layers": 2, "dropout": 0.3, **options})


def run(
    folder: Path, graph: bool, *, model: Any = characters, epochs: int = 3, **options: Any
) -> tuple[Trainer, Notes]:
    """A Trainer for 7 batches (3, 7) of a text and one (3, 4), and 4 batches of what is held out."""
    nnlab.manual_seed(2)
    ids = np.random.default_rng(3).integers(0, 5, 3 * 53 + 1)
    model, notes = model(), Notes()
    optimizer = optim.Adam(model.named_parameters(), lr=0.02)
    settings: dict[str, Any] = {"clip_norm": 0.5, "poll_every": 5, "checkpoint_every": 3, "callbacks": [], **options}
    settings["callbacks"] = [notes, *settings["callbacks"]]
    trainer = Trainer(
        model, optimizer, TextStreams(ids, 3, 7), TextStreams(ids[:40], 1, 11), epochs=epochs, loss=BitsPerCharacter(),
        scheduler=lr_scheduler.CosineAnnealingLR(optimizer, T_max=40), out=folder, device="emulated", graph=graph,
        **settings,
    )  # fmt: skip
    return trainer, notes


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_same_bits(tmp_path: Path, cell: str, accumulate: int) -> None:
    trainers = []
    for graph in (False, True):
        trainer, notes = run(tmp_path / str(graph), graph, model=lambda: characters(cell=cell), accumulate=accumulate)
        trainer.fit()
        assert notes.texts == []
        trainers.append(trainer)
    same(*trainers)
    steps = trainers[1].graphs.steps.values()
    assert sorted(step.replays for step in steps) == ([1, 16] if accumulate == 1 else [1, 4])


def test_nothing_is_made_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But at the beginning of an epoch, where there is no state yet, and of the recording."""
    frozen: list[int] = []

    class Frozen:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"a recorded step asked for {name}")

    class Watch(Callback):
        def on_batch_end(self, trainer: Trainer) -> None:
            monkeypatch.undo()
            if trainer.phase == "train" and trainer.epoch == 2 and trainer.batch < trainer.batches:
                frozen.append(trainer.batch)
                monkeypatch.setattr(EMULATED, "xp", Frozen())
                monkeypatch.setattr(EMULATED, "to_numpy", Frozen().__getattr__)
                monkeypatch.setattr(launch, "launch", Frozen().__getattr__)

    trainer, _ = run(tmp_path, True, poll_every=100, checkpoint_every=0, callbacks=[Watch()])
    trainer.fit()
    assert frozen == list(range(1, 8))


class Stop(Exception):
    pass


class StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_batch_end(self, trainer: Trainer) -> None:
        if trainer.step == self.step and trainer.phase == "train":
            raise Stop


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_resumed_in_the_middle_of_a_text(tmp_path: Path, before: bool, after: bool) -> None:
    plain, _ = run(tmp_path / "plain", False)
    plain.fit()
    folder = tmp_path / "stopped"
    first, _ = run(folder, before, callbacks=[StopAt(14)])
    with pytest.raises(Stop):
        first.fit()
    second, notes = run(folder, after)
    second.fit(resume=True)  # from step 12, the fourth batch of the second epoch
    assert notes.texts == ["continuing in epoch 2 after batch 4 (step 12)"]
    same(plain, second)
    assert not after or sum(step.replays for step in second.graphs.steps.values()) > 5


def test_back_to_a_checkpoint_within_a_run(tmp_path: Path) -> None:
    """What was carried then is brought into the arrays of the recording."""
    plain, _ = run(tmp_path / "plain", False)
    plain.fit()
    graph, _ = run(tmp_path / "graph", True, callbacks=[StopAt(14)])
    with pytest.raises(Stop):
        graph.fit()
    graph.callbacks.pop()
    graph.fit(resume=True)
    same(plain, graph)


def test_validation_in_between_leaves_the_state(tmp_path: Path) -> None:
    class Look(Callback):
        def on_batch_end(self, trainer: Trainer) -> None:
            if trainer.phase == "train" and trainer.step in (3, 6, 13):
                before = state(trainer)
                trainer.validate()
                trainer.phase = "train"
                trainer.model.train()
                after = state(trainer)
                for name in before:
                    np.testing.assert_array_equal(before[name], after[name], name)

    trainers = []
    for graph in (False, True):
        trainer, _ = run(tmp_path / str(graph), graph, callbacks=[Look()])
        trainer.fit()
        trainers.append(trainer)
    same(*trainers)


class Mean(nn.Module):
    """Carries a mean, in the dtype of the one before."""

    carried = ("last",)
    last: nnlab.Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(1, 5)
        self.register_buffer("last", None, persistent=False)

    def forward(self, x: nnlab.Tensor) -> nnlab.Tensor:
        old = self.last
        y = self.inner(x.float().unsqueeze(-1) + (0 if old is None else old.float()))
        self.last = y.detach().mean().to(dtype=nnlab.float32 if old is None else old.dtype)
        return y.transpose(1, 2)


class Widen(Callback):
    def on_batch_end(self, trainer: Trainer) -> None:
        if trainer.phase == "train" and trainer.step == 12:
            trainer.model.last = trainer.model.last.double() + 1


def test_a_state_that_gets_another_form_is_recorded_anew(tmp_path: Path) -> None:
    trainers = []
    for graph in (False, True):
        trainer, notes = run(tmp_path / str(graph), graph, model=Mean, callbacks=[Widen()])
        trainer.fit()
        assert notes.texts == []
        trainers.append(trainer)
    same(*trainers)
    assert sum(step.replays for step in trainers[1].graphs.steps.values()) > 3


class Held(nn.Module):
    """Carries what it makes of another dtype in every second batch."""

    carried = ("last",)
    last: nnlab.Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(1, 5)
        self.register_buffer("last", None, persistent=False)

    def forward(self, x: nnlab.Tensor) -> nnlab.Tensor:
        old = self.last
        half = old is not None and old.dtype == nnlab.float32
        y = self.inner(x.float().unsqueeze(-1) + (0 if old is None else old.float()))
        self.last = y.detach().mean().to(dtype=nnlab.float64 if half else nnlab.float32)
        return y.transpose(1, 2)


def test_a_state_that_a_step_gives_another_form(tmp_path: Path) -> None:
    trainers = []
    for graph in (False, True):
        trainer, notes = run(tmp_path / str(graph), graph, model=Held)
        trainer.fit()
        trainers.append(trainer)
    assert notes.texts == ["no graph: the step gives the state 'last' of Held another form"]
    same(*trainers)


def test_a_loss_that_carries_state(tmp_path: Path) -> None:
    trainer, notes = run(tmp_path, True, epochs=1)
    trainer.loss.carried = ("h",)
    trainer.loss.register_buffer("h", None, persistent=False)
    trainer.fit()
    assert notes.texts == ["no graph: the loss carries state from batch to batch"]
