"""Steps of the Trainer as graphs, on the device ``emulated``: same bits as without, and nothing is launched by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import pictures

import nnlab
from nnlab import nn, optim
from nnlab.cuda import launch
from nnlab.data import ArrayImages, DataLoader, transforms
from nnlab.models.lenet import LeNet5
from nnlab.optim import lr_scheduler
from nnlab.train import Callback, Trainer
from nnlab.train.facts import Facts
from tests import emulator
from tests.train.recorded import Notes, same

EMULATED = emulator.backend()


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.3), nn.Flatten(), nn.Linear(64, 12),
        nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, 3),
    )  # fmt: skip


OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3),
    "adam": lambda p: optim.Adam(p, lr=0.01, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.02, lr_decay=0.1),
    "adadelta": lambda p: optim.Adadelta(p, lr=0.5),
    "adamax": lambda p: optim.Adamax(p, lr=0.01),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "rprop": lambda p: optim.Rprop(p, lr=0.01),
    "nadam": lambda p: optim.NAdam(p, lr=0.01, weight_decay=0.1, decoupled_weight_decay=True),
    "radam": lambda p: optim.RAdam(p, lr=0.05, betas=(0.9, 0.95)),
}


def run(
    folder: Path,
    graph: bool,
    *,
    optimizer: str = "sgd",
    model: Any = network,
    epochs: int = 3,
    **options: Any,
) -> tuple[Trainer, Notes]:
    """A Trainer for 6 batches of 8 pictures and one of 6, in each of the epochs."""
    nnlab.manual_seed(3)
    normalise = transforms.Normalize([0.4], [0.25])
    loader = DataLoader(ArrayImages(*pictures(54, 1), ["a", "b", "c"], transform=normalise), 8, shuffle=True, seed=5)
    model = model()
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


def test_lenet(tmp_path: Path) -> None:
    """Average pooling, tanh, plain and dropped dense layers; batches of 28 x 28."""
    rng = np.random.default_rng(1)
    batches = [
        (
            nnlab.from_numpy(rng.standard_normal((n, 1, 28, 28)).astype(np.float32)),
            nnlab.from_numpy(rng.integers(0, 10, n)),
        )
        for n in (4, 4, 4, 3)
    ]
    trainers = []
    for graph in (False, True):
        nnlab.manual_seed(3)
        model = LeNet5()
        model.classifier = nn.Sequential(*[layer for one in model.classifier for layer in (one, nn.Dropout(0.2))][:-1])
        chosen = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
        trainer = Trainer(
            model, chosen, batches, epochs=2, out=tmp_path / str(graph), device="emulated", graph=graph, clip_norm=0.5,
            poll_every=20, scheduler=lr_scheduler.OneCycleLR(chosen, 0.1, total_steps=8),
        )  # fmt: skip
        trainer.fit()
        trainers.append(trainer)
    same(*trainers)
    assert [step.ready for step in trainers[1].graphs.steps.values()] == [True, True]


class Batch(nn.Module):
    """Batch and group normalisation, channel dropout, an embedding and a loss with weights: array code."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.norm, self.group = nn.BatchNorm2d(4), nn.GroupNorm(2, 4)
        self.drop = nn.Dropout2d(0.4)
        self.last = nn.Linear(4, 3)

    def forward(self, x: nnlab.Tensor) -> nnlab.Tensor:
        x = self.group(nn.functional.gelu(self.norm(self.first(x))))
        return self.last(self.drop(x).mean((2, 3)))


def test_array_code(tmp_path: Path) -> None:
    results = []
    for graph in (False, True):
        nnlab.manual_seed(3)
        trainer, notes = run(tmp_path / str(graph), graph, model=Batch)
        trainer.fit()
        results.append(trainer)
        assert notes.texts == []
    same(*results)


class Frozen:
    """In place of the device's array module: nothing may be made."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a recorded step asked for {name}")


def test_nothing_is_made_and_nothing_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that runs again makes no array, launches nothing by itself and looks at nothing."""
    seen: list[int] = []

    class Watch(Callback):
        def on_batch_end(self, trainer: Trainer) -> None:
            ready = [key for key, step in trainer.graphs.steps.items() if step.ready]
            seen.append(len(ready))
            monkeypatch.undo()
            if len(ready) == 2 and trainer.batch < trainer.batches:  # nothing is left to be recorded
                monkeypatch.setattr(EMULATED, "xp", Frozen())
                monkeypatch.setattr(EMULATED, "to_numpy", Frozen().__getattr__)
                monkeypatch.setattr(launch, "launch", Frozen().__getattr__)

    trainer, _ = run(tmp_path, True, epochs=4, callbacks=[Watch()], poll_every=100)
    trainer.fit()
    assert seen[-7:] == [2] * 7
    assert all(step.replays >= 2 for step in trainer.graphs.steps.values())


class Looking(nn.Module):
    def __init__(self, how: Any) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: nnlab.Tensor) -> nnlab.Tensor:
        self.how(x)
        return x


LOOKS = {
    "item": (lambda x: x.sum().item(), "looks at values on the host"),
    "bool": (lambda x: bool(x.sum() > 0), "looks at values on the host"),
    "cpu": (lambda x: x.cpu(), "looks at values on the host"),
    "mask": (lambda x: x[x > 0], "picks elements by a mask"),
    "synchronize": (lambda x: EMULATED.synchronize(), "waits for the device"),
    "from the host": (lambda x: nnlab.tensor([1.0, 2.0], device="emulated"), "copies numbers from the host"),
    "host draw": (lambda x: nnlab.default_generator.numpy().random(), "draws random numbers on the host"),
    "own generator": (
        lambda x: nnlab.autograd.activation.dropout(x, 0.5, OWN.manual_seed(2)), "draws from a generator of its own"
    ),
}  # fmt: skip
OWN = nnlab.Generator(2)


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_falls_back_with_the_reason(tmp_path: Path, look: str) -> None:
    how, reason = LOOKS[look]
    trainers = []
    for graph in (False, True):
        trainer, notes = run(tmp_path / str(graph), graph, model=lambda: nn.Sequential(Looking(how), *network()))
        trainer.fit()
        trainers.append(trainer)
    assert len(notes.texts) == 1
    assert notes.texts[0].startswith("no graph: ")
    assert reason in notes.texts[0]
    assert trainers[1].graphs.reason is not None
    same(*trainers)


def test_what_cannot_be_a_graph_says_so(tmp_path: Path) -> None:
    hooked = network()
    hooked[0].register_forward_hook(lambda *given: None)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"poll_every": 1}, "every loss is looked at (poll_every 1)"),
        ({"model": lambda: hooked}, "Conv2d has a hook, which a graph would not call"),
    ]
    for number, (options, reason) in enumerate(cases):
        trainer, notes = run(tmp_path / str(number), True, epochs=1, **options)
        trainer.fit()
        assert notes.texts == [f"no graph: {reason}"]
    trainer, notes = run(tmp_path / "hook", True, epochs=1)
    next(trainer.model.parameters()).register_hook(lambda gradient: None)
    trainer.fit()
    assert notes.texts == ["no graph: a parameter has a hook, which a graph would not call"]
    nnlab.manual_seed(3)
    on_cpu = Trainer(
        network(), OPTIMIZERS["sgd"](network().parameters()), trainer.train_loader, epochs=1, poll_every=5,
        out=tmp_path / "cpu", graph=True, callbacks=[notes],
    )  # fmt: skip
    on_cpu.fit()
    assert notes.texts[1:] == ["no graph: the device cpu has none"]
    assert Trainer(on_cpu.model, on_cpu.optimizer, trainer.train_loader, epochs=1).graphs.wanted is False


def test_a_hook_that_comes_later(tmp_path: Path) -> None:
    calls: list[int] = []
    places = [
        lambda t: t.model[0].register_forward_hook(lambda *given: calls.append(t.step)),
        lambda t: t.model[0].weight.register_hook(lambda gradient: calls.append(t.step)),
    ]
    for number, place in enumerate(places):
        calls.clear()
        notes = Notes()
        trainer, _ = run(tmp_path / str(number), True, callbacks=[Turn(place, (10,)), notes])
        trainer.fit()
        assert calls == list(range(10, 21))
        assert notes.texts[0].endswith("has a hook, which a graph would not call")


class Own(optim.SGD):
    """Its numbers would be those of the recording."""

    def _update(self, group: Any, be: Any, params: Any) -> None:
        for p in params:
            p -= group["lr"] * p.grad


def test_an_optimizer_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPTIMIZERS, "own", lambda p: Own(p, lr=0.1))
    trainer, notes = run(tmp_path, True, optimizer="own", epochs=1)
    trainer.fit()
    assert notes.texts == ["no graph: Own keeps its numbers on the host"]


class Turn(Callback):
    """Changes something in the middle of a run."""

    def __init__(self, what: Any, steps: tuple[int, ...] = (10,)) -> None:
        self.what, self.steps = what, steps

    def on_batch_end(self, trainer: Trainer) -> None:
        if trainer.step in self.steps:
            self.what(trainer)


def _freeze(trainer: Trainer) -> None:
    trainer.model[0].weight.requires_grad_(False)


def _other_array(trainer: Trainer) -> None:
    weight = trainer.model[0].weight
    weight.data = weight.data.clone()


def _other_state(trainer: Trainer) -> None:
    trainer.optimizer.load_state_dict(trainer.optimizer.state_dict())


def _decay(trainer: Trainer) -> None:
    for group in trainer.optimizer.param_groups:
        group["weight_decay"], group["momentum"], group["nesterov"] = 0.1, 0.5, True


CHANGES = {
    "dropout": lambda t: setattr(t.model[3], "p", 0.8),
    "eval": lambda t: t.model[3].eval(),
    "clip": lambda t: setattr(t, "clip_norm", 0.01),
    "frozen": _freeze,
    "other array": _other_array,
    "other state": _other_state,
    "options": _decay,
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_on_the_way_is_recorded_anew(tmp_path: Path, change: str) -> None:
    trainers = []
    for graph in (False, True):
        notes = Notes()
        trainer, _ = run(tmp_path / str(graph), graph, callbacks=[Turn(CHANGES[change]), notes])
        trainer.fit()
        assert notes.texts == []
        trainers.append(trainer)
    same(*trainers)
    assert any(step.replays > 2 for step in trainers[1].graphs.steps.values())


def test_a_step_that_always_changes_runs_without(tmp_path: Path) -> None:
    trainers = []
    for graph in (False, True):
        notes = Notes()

        def less(trainer: Trainer) -> None:
            trainer.model[3].p *= 0.9

        trainer, _ = run(tmp_path / str(graph), graph, callbacks=[Turn(less, tuple(range(99))), notes])
        trainer.fit()
        trainers.append(trainer)
    assert len(notes.texts) == 1
    assert notes.texts[0].endswith("are not what they were, step after step")
    same(*trainers)


def test_resumed_in_the_middle(tmp_path: Path) -> None:
    """From a checkpoint with and without a graph: same bits, whichever way the run went before."""
    plain, _ = run(tmp_path / "plain", False, checkpoint_every=3)
    plain.fit()
    for before in (False, True):
        for after in (False, True):
            folder = tmp_path / f"{before}-{after}"
            first, _ = run(folder, before, checkpoint_every=3, callbacks=[Turn(_stop, (11,))])
            with pytest.raises(Stop):
                first.fit()
            second, _ = run(folder, after, checkpoint_every=3)
            second.fit(resume=True)
            assert second.step == plain.step
            same(plain, second)


@pytest.mark.parametrize("optimizer", ["adam", "nadam", "sgd"])
def test_counts_after_numbers_that_do_not_fit(tmp_path: Path, optimizer: str) -> None:
    """What the host counted for a step that was not run then does not count, whatever of the state was new."""

    def forget_some(trainer: Trainer) -> None:
        state = trainer.optimizer.state_dict()
        for key in list(state["state"])[-2:]:
            del state["state"][key]
        trainer.optimizer.load_state_dict(state)

    trainers = []
    for graph in (False, True):
        steps = [Turn(_other_state, (9,)), Turn(forget_some, (12,))]
        trainer, _ = run(tmp_path / str(graph), graph, optimizer=optimizer, epochs=4, callbacks=steps)
        trainer.fit()
        trainers.append(trainer)
    same(*trainers)


def _forget(trainer: Trainer) -> None:
    del trainer.model[3].p


def _call(trainer: Trainer) -> None:
    trainer.model[0].padding = [1, 1]


DIFFERENCES: dict[str, Any] = {
    **CHANGES,
    "hook": lambda t: t.model[0].register_forward_hook(lambda *given: None),
    "pre-hook": lambda t: t.model[0].register_forward_pre_hook(lambda *given: None),
    "hook of a weight": lambda t: t.model[0].weight.register_hook(lambda gradient: None),
    "layer": lambda t: t.model.__setitem__(1, nn.Tanh()),
    "further layer": lambda t: t.model.append(nn.Identity()),
    "model": lambda t: setattr(t, "model", network().to("emulated")),
    "loss": lambda t: setattr(t, "loss", nn.CrossEntropyLoss().to("emulated")),
    "function as the loss": lambda t: setattr(t, "loss", nn.functional.cross_entropy),
    "option of the loss": lambda t: setattr(t.loss, "label_smoothing", 0.2),
    "parameter": lambda t: setattr(t.model[0], "bias", nn.Parameter(t.model[0].bias.detach().clone())),
    "parameter on the same array": lambda t: setattr(t.model[0], "bias", nn.Parameter(t.model[0].bias.detach())),
    "no bias": lambda t: setattr(t.model[0], "bias", None),
    "sums": lambda t: setattr(t.sums, "_loss", t.sums._loss.clone()),
    "an attribute that is gone": _forget,
    "an attribute that was no plain value": lambda t: setattr(t.model[4], "extra", None),
    "a new attribute": lambda t: setattr(t.model[4], "another", None),
    "an attribute that is none any more": _call,
    "precision of products": lambda t: nnlab.set_float32_matmul_precision("high"),
    "precision of convolutions": lambda t: nnlab.set_float32_conv_precision("medium"),
}
for _same in ("other state", "options"):  # the optimizer's numbers notice those
    del DIFFERENCES[_same]


@pytest.mark.parametrize("difference", [None, *DIFFERENCES])
def test_each_fact_is_compared(tmp_path: Path, difference: str | None) -> None:
    trainer, _ = run(tmp_path, True, epochs=1)
    trainer.model[4].extra = [1]
    facts = Facts(trainer)
    assert facts.same()
    before = nnlab.get_float32_matmul_precision(), nnlab.get_float32_conv_precision()
    try:
        if difference is not None:
            DIFFERENCES[difference](trainer)
        assert facts.same() == (difference is None)
        with nnlab.autocast("emulated", "float16"):
            assert not facts.same()
    finally:
        nnlab.set_float32_matmul_precision(before[0])
        nnlab.set_float32_conv_precision(before[1])


class Stop(Exception):
    pass


def _stop(trainer: Trainer) -> None:
    raise Stop


def test_back_to_the_checkpoint_within_a_run(tmp_path: Path) -> None:
    """Restored arrays are not those that were recorded."""
    plain, _ = run(tmp_path / "plain", False, checkpoint_every=3)
    plain.fit()
    gone_back: list[int] = []

    def back(trainer: Trainer) -> None:
        if not gone_back:
            gone_back.append(trainer.step)
            trainer.restore()
            raise Stop

    graph, _ = run(tmp_path / "graph", True, checkpoint_every=3, callbacks=[Turn(back, (12,))])
    with pytest.raises(Stop):
        graph.fit()
    graph.fit(resume=True)
    same(plain, graph)


def test_a_spoilt_loss_is_found_as_without(tmp_path: Path) -> None:
    """NaN in a batch that a graph ran: back to the checkpoint, and the step is looked at without a graph."""

    spoilt: list[int] = []

    def spoil(trainer: Trainer) -> None:
        if not spoilt:
            spoilt.append(trainer.step)
            with nnlab.no_grad():
                trainer.model[0].weight.fill_(float("nan"))

    notes = Notes()
    graph, _ = run(tmp_path, True, checkpoint_every=0, callbacks=[Turn(spoil, (11,)), notes])
    graph.fit()  # the weights of the checkpoint are whole: the trouble does not repeat
    assert notes.texts == [
        "the loss is NaN or infinite: going back to step 7 to find the layer",
        "no graph: every loss is looked at (poll_every 1)",
    ]
    assert graph.step == 21


def test_without_a_folder_and_without_a_word_of_looks(tmp_path: Path) -> None:
    """A graph that is asked for looks at the loss once in 20 steps; nothing else changes."""
    trainers = []
    for graph in (False, True):
        trainer, notes = run(tmp_path, graph, poll_every=None)
        trainer = Trainer(
            trainer.model, trainer.optimizer, trainer.train_loader, epochs=3, device="emulated", graph=graph,
            callbacks=[notes],
        )  # fmt: skip
        trainer.fit()
        assert notes.texts == []
        assert trainer.poll_every == (20 if graph else 1)
        trainers.append(trainer)
    same(*trainers)
    assert sum(step.replays for step in trainers[1].graphs.steps.values()) > 10
    assert not list(tmp_path.iterdir())
