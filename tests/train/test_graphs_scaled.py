"""Loss scaling without a look at the host: float16 on the device ``emulated``, with and without graphs.

Gradients overflow again and again, because the scale grows every other step. What the device skips by its flag must be
what the host skips when it reads the flag in each step.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnlab
import nnlab.backend.graphs
from nnlab import nn, optim
from nnlab.amp import GradScaler
from nnlab.cuda import launch
from nnlab.ops.adam import ROWS
from nnlab.optim import lr_scheduler
from nnlab.train import Callback, Trainer
from tests import emulator
from tests.train.recorded import Notes, same, state

EMULATED = emulator.backend()

OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.1, weight_decay=1e-3),
    "plain sgd": lambda p: optim.SGD(p, lr=0.1),
    "adam": lambda p: optim.Adam(p, lr=0.02, amsgrad=True, weight_decay=1e-3),
    "adamw": lambda p: optim.AdamW(p, lr=0.02, weight_decay=0.1),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "adadelta": lambda p: optim.Adadelta(p, lr=0.5),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.02),
    "rprop": lambda p: optim.Rprop(p, lr=0.01),
}


def batches() -> list[tuple[nnlab.Tensor, nnlab.Tensor]]:
    rng = np.random.default_rng(4)
    sizes = (6, 6, 6, 6, 6, 6, 4)
    drawn = [(rng.standard_normal((n, 5)).astype(np.float32), rng.integers(0, 3, n)) for n in sizes]
    return [(nnlab.from_numpy(x), nnlab.from_numpy(target)) for x, target in drawn]


def run(
    folder: Path | None, graph: bool, optimizer: str = "adam", epochs: int = 3, **options: Any
) -> tuple[Trainer, Notes]:
    nnlab.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
    chosen, notes = OPTIMIZERS[optimizer](model.named_parameters()), Notes()
    settings: dict[str, Any] = {"clip_norm": 0.5, "poll_every": 5, "checkpoint_every": 4, "callbacks": [], **options}
    settings["callbacks"] = [notes, *settings["callbacks"]]
    trainer = Trainer(
        model, chosen, batches(), epochs=epochs, out=folder, device="emulated", precision="fp16", graph=graph,
        scheduler=lr_scheduler.CosineAnnealingLR(chosen, T_max=30), **settings,
    )  # fmt: skip
    trainer.precision.scaler = GradScaler("emulated", 2.0**16, growth_factor=4.0, growth_interval=2)
    return trainer, notes


def look_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optim.Optimizer, "skippable", lambda self: False)


class Scales(Callback):
    """The scale after each step; looking changes nothing."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_batch_end(self, trainer: Trainer) -> None:
        self.found.append(trainer.precision.scaler.get_scale())


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str, clip: float | None) -> None:
    trainers, scales = [], [Scales() for _ in range(3)]
    for graph, watch in zip((False, True), scales):
        trainer, notes = run(tmp_path / str(graph), graph, optimizer, clip_norm=clip, callbacks=[watch])
        trainer.fit()
        assert notes.texts == []
        trainers.append(trainer)
    same(*trainers)
    assert len(trainers[1].graphs.steps) == 2 and all(step.replays for step in trainers[1].graphs.steps.values())
    look_each_step(monkeypatch)
    host, _ = run(tmp_path / "host", False, optimizer, clip_norm=clip, callbacks=[scales[2]])
    host.fit()
    same(host, trainers[0])
    assert scales[0].found == scales[1].found == scales[2].found
    falls = [step for step, (a, b) in enumerate(pairwise(scales[0].found), start=2) if b < a]
    assert len(falls) > 3 and max(falls) > 12  # overflows, also where steps are graphs


def test_a_skipped_step_changes_nothing(tmp_path: Path) -> None:
    """In a run of the graph: weights, moments and Adam's count."""
    seen: list[tuple[int, dict[str, Any]]] = []

    class Spoil(Callback):
        def on_batch_end(self, trainer: Trainer) -> None:
            if trainer.step == 15:
                trainer.precision.scaler.update(2.0**100)
            seen.append((trainer.step, state(trainer)))

    trainer, notes = run(tmp_path, True, callbacks=[Spoil()], checkpoint_every=0)
    trainer.fit()
    assert notes.texts == []
    before, after = dict(seen)[15], dict(seen)[16]
    assert any(step.replays > 5 for step in trainer.graphs.steps.values())
    assert after.pop("scale") == 2.0**99 and before.pop("scale") == 2.0**100
    assert after.pop("_growth_tracker") == 0
    del before["_growth_tracker"]
    for name in before:
        np.testing.assert_array_equal(before[name], after[name], name)


class Frozen:
    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a recorded step asked for {name}")


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_nothing_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str) -> None:
    """Neither as a graph nor without one, but where the loss is looked at, in a new state and each epoch's end."""
    looks: list[int] = []
    to_numpy = EMULATED.to_numpy

    class Watch(Callback):
        def on_batch_end(self, trainer: Trainer) -> None:
            looks.append(len(counted))
            monkeypatch.undo()
            monkeypatch.setattr(EMULATED, "to_numpy", lambda array: (counted.append(1), to_numpy(array))[1])
            ready = sum(step.ready for step in trainer.graphs.steps.values())
            if trainer.epoch == 2 and ready == 2 and 1 < trainer.batch < trainer.batches:
                monkeypatch.setattr(EMULATED, "xp", Frozen())
                monkeypatch.setattr(launch, "launch", Frozen().__getattr__)

    for graph in (False, True):
        counted: list[int] = []
        looks.clear()
        trainer, _ = run(tmp_path / str(graph), graph, optimizer, poll_every=100, checkpoint_every=0,
                         callbacks=[Watch()])  # fmt: skip
        trainer.fit()
        monkeypatch.undo()
        inside = [b - a for step, (a, b) in enumerate(pairwise(looks), start=2) if step % 7 != 1]
        assert inside[3:] == [0] * len(inside[3:])


def test_a_look_at_least_once_in_so_many_steps() -> None:
    """More steps, and more skipped ones, than there are rows of corrections: Adam's count is still the host's."""
    w = nn.Parameter(nnlab.ones(3, device="emulated"))
    v = nn.Parameter(nnlab.ones(3))
    ours, theirs = optim.Adam([w], lr=0.01), optim.Adam([v], lr=0.01)
    scaler, other = (GradScaler(device, 2.0**10, growth_interval=1000) for device in ("emulated", "cpu"))
    random = np.random.default_rng(3)
    for step in range(3 * ROWS):
        factor = float("inf") if step % 5 and step < 2 * ROWS else float(random.standard_normal())
        for scale, p, optimizer in ((scaler, w, ours), (other, v, theirs)):
            optimizer.zero_grad()
            scale.scale((p * p * factor).sum()).backward()
            scale.step(optimizer)
            scale.update(2.0**10)
        assert scaler._steps == {} or scaler._steps[id(ours)].pending < ROWS
    np.testing.assert_allclose(w.detach().cpu().numpy(), v.detach().numpy(), rtol=1e-6)
    counts = [optimizer.state_dict()["state"][0]["step"] for optimizer in (ours, theirs)]
    assert counts[0] == counts[1] < 2 * ROWS
    assert ours.state[w]["step"] == counts[0]


def test_resumed_in_the_middle(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    class StopAt(Callback):
        def on_batch_end(self, trainer: Trainer) -> None:
            if trainer.step == 11:
                raise Stop

    plain, _ = run(tmp_path / "plain", False)
    plain.fit()
    for before in (False, True):
        for after in (False, True):
            folder = tmp_path / f"{before}-{after}"
            first, _ = run(folder, before, callbacks=[StopAt()])
            with pytest.raises(Stop):
                first.fit()
            second, _ = run(folder, after)
            second.fit(resume=True)
            same(plain, second)


def test_parameters_without_a_gradient() -> None:
    """Steps that were skipped count for those parameters alone that had a gradient then."""
    found = []
    for device in ("emulated", "cpu"):
        p, q = (nn.Parameter(nnlab.ones(2, device=device)) for _ in range(2))
        optimizer, scaler = optim.Adam([p, q], lr=0.1), GradScaler(device, 8.0, growth_interval=100)
        for step, factor in enumerate((1.0, 1.0, float("inf"), float("inf"), 2.0, 1.0, float("inf"), 3.0)):
            optimizer.zero_grad()
            loss = (p * p * factor).sum()
            if step in (0, 1, 4, 5):
                loss = loss + (q * q).sum()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        state = optimizer.state_dict()["state"]
        assert [state[k]["step"] for k in (0, 1)] == [5, 4]
        assert scaler.get_scale() == 1.0
        found.append([t.detach().cpu().numpy() for t in (p, q)])
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_overflows_from_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No state is made by steps that are skipped; the first step that is made is the first."""
    trainers = []
    for graph in (False, True):
        trainer, notes = run(tmp_path / str(graph), graph, "sgd")
        trainer.precision.scaler.load_state_dict({**trainer.precision.scaler.state_dict(), "scale": 2.0**28})
        trainer.fit()
        assert notes.texts == []
        trainers.append(trainer)
    same(*trainers)
    look_each_step(monkeypatch)
    host, _ = run(tmp_path / "host", False, "sgd")
    host.precision.scaler.load_state_dict({**host.precision.scaler.state_dict(), "scale": 2.0**28})
    host.fit()
    same(host, trainers[0])


@pytest.mark.parametrize("optimizer", ["nadam", "radam", "adamax", "decaying adagrad"])
def test_optimizers_that_count_on_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str) -> None:
    makers = {
        "nadam": lambda p: optim.NAdam(p, lr=0.01),
        "radam": lambda p: optim.RAdam(p, lr=0.01),
        "adamax": lambda p: optim.Adamax(p, lr=0.01),
        "decaying adagrad": lambda p: optim.Adagrad(p, lr=0.01, lr_decay=0.1),
    }
    monkeypatch.setitem(OPTIMIZERS, optimizer, makers[optimizer])
    trainers = []
    for graph in (False, True):
        trainer, notes = run(tmp_path / str(graph), graph, optimizer, epochs=2)
        trainer.fit()
        trainers.append(trainer)
    kind = type(trainers[1].optimizer).__name__
    assert notes.texts == [f"no graph: for {kind} the host must know which steps loss scaling skipped"]
    same(*trainers)


def test_a_recording_that_fails_after_unscaling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its flags are forgotten, or the step without a graph would find them."""
    real = optim.Adam._update

    def update(self: Any, group: Any, be: Any, params: Any) -> None:
        real(self, group, be, params)
        if nnlab.backend.graphs.recording():
            params[0].sum().item()

    plain, _ = run(tmp_path / "plain", False)
    plain.fit()
    monkeypatch.setattr(optim.Adam, "_update", update)
    monkeypatch.setattr(optim.Optimizer, "capturable", lambda self: True)
    graph, notes = run(tmp_path / "graph", True)
    graph.fit()
    assert notes.texts == ["no graph: the step looks at values on the host"]
    same(plain, graph)


def test_a_long_run_without_a_folder_looks_in_time() -> None:
    """More steps than rows of corrections from one look to the next, by graphs and without."""
    trainers = []
    for graph in (False, True):
        trainer, notes = run(None, graph, epochs=8, poll_every=1000, checkpoint_every=0)
        trainer._checkpoint = lambda: None  # type: ignore[method-assign]  # which would look
        trainer.fit()
        assert notes.texts == []
        (pending,) = [pending for _, pending in trainer.precision.scaler.pending()]
        trainers.append((trainer, pending))
    assert trainers[0][1] == trainers[1][1] < ROWS
    same(trainers[0][0], trainers[1][0])


def test_a_scaler_that_changes_is_another_step(tmp_path: Path) -> None:
    class Turn(Callback):
        def on_batch_end(self, trainer: Trainer) -> None:
            if trainer.step == 12:
                state = trainer.precision.scaler.state_dict()
                trainer.precision.scaler.load_state_dict({**state, "backoff_factor": 0.125, "growth_interval": 3})

    trainers = []
    for graph in (False, True):
        trainer, notes = run(tmp_path / str(graph), graph, epochs=4, callbacks=[Turn()])
        trainer.fit()
        assert notes.texts == []
        trainers.append(trainer)
    same(*trainers)


def test_a_state_that_is_loaded_is_not_corrected() -> None:
    """Steps that were skipped before belong to the state from before."""
    w = nn.Parameter(nnlab.ones(3, device="emulated"))
    optimizer, scaler = optim.Adam([w], lr=0.1), GradScaler("emulated", 8.0)
    for factor in (1.0, 1.0, float("inf")):
        optimizer.zero_grad()
        scaler.scale((w * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        if factor == 1.0:
            saved = optimizer.state_dict()
    assert optimizer.state[w]["step"] == 3  # nobody has looked
    optimizer.load_state_dict(saved)
    assert optimizer.state_dict()["state"][0]["step"] == 2
