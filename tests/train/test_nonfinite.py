"""NaN and infinity stop a run and name the layer, before they reach a checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny import At, make_trainer

import nnlab
from nnlab import nn
from nnlab.errors import NonFiniteError
from nnlab.train import Callback, Trainer, evaluate, read_checkpoint


class Wild(nn.Module):
    """The identity, until its buffer ``on`` says otherwise: then infinite outputs, or NaN gradients."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.on = False

    def forward(self, x: nnlab.Tensor) -> nnlab.Tensor:
        if not self.on:
            return x
        if self.kind == "output":
            return (x * 1e4).exp()
        return x + (x - x.detach()).abs().sqrt()  # 0 forwards; its derivative at 0 is 0/0 or infinity


def _model(kind: str) -> tuple[nn.Module, Wild]:
    nnlab.manual_seed(0)
    wild = Wild(kind)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Dropout(0.2), wild, nn.Flatten(), nn.Linear(144, 3))
    return model, wild


class Switch(Callback):
    """Turns the wild layer on at a step; the same after going back to a checkpoint."""

    def __init__(self, wild: Wild, step: int) -> None:
        self.wild, self.step = wild, step
        self.notes: list[str] = []

    def on_fit_start(self, trainer: Trainer) -> None:
        self.wild.on = trainer.step >= self.step

    def on_batch_end(self, trainer: Trainer) -> None:
        self.wild.on = trainer.step >= self.step

    def on_note(self, trainer: Trainer, text: str) -> None:
        self.notes.append(text)


@pytest.mark.parametrize("poll", [1, 5])
@pytest.mark.parametrize("saved", [True, False])
def test_infinite_output_names_the_layer(tmp_path: Path, poll: int, saved: bool) -> None:
    model, wild = _model("output")
    switch = Switch(wild, 10)
    out = tmp_path / "run" if saved else None
    trainer = make_trainer(out, model=model, poll_every=poll, callbacks=[switch])
    with pytest.raises(NonFiniteError, match=r"\[3 Wild\] its output holds .* infinite of 1152 values") as error:
        trainer.fit()
    assert "epoch 2, batch 4" in str(error.value)
    assert trainer.step == 10
    assert len(switch.notes) == (0 if poll == 1 else 1)
    if saved:
        state = read_checkpoint(tmp_path / "run" / "last")
        assert state.state["step"] == 9
        assert all(np.isfinite(array).all() for array in state.weights.values())
        wild.on = False
        again = make_trainer(out, model=model)
        again.fit(resume=True)
        assert again.step == 21


@pytest.mark.parametrize("every", [0, 3])
def test_a_late_look_without_a_folder(every: int) -> None:
    """Weights, moments, history and counts are those of a run that looked at each loss."""
    found = []
    for poll in (1, 7):
        model, wild = _model("output")
        switch = Switch(wild, 10)
        trainer = make_trainer(None, model=model, poll_every=poll, checkpoint_every=every, callbacks=[switch])
        with pytest.raises(NonFiniteError) as error:
            trainer.fit()
        arrays = {name: value.numpy() for name, value in trainer.model.state_dict().items()}
        arrays |= {f"{p.shape}.{n}": v for p, e in trainer.optimizer.state.items() for n, v in e.items()}
        arrays = {name: np.array(v.numpy() if hasattr(v, "numpy") else v) for name, v in arrays.items()}
        losses = [row["train_loss"] for row in trainer.history]
        found.append((arrays, losses, trainer.epoch, trainer.batch, trainer.step, str(error.value)))
    for name, value in found[0][0].items():
        np.testing.assert_array_equal(value, found[1][0][name], name)
    assert found[0][1:] == found[1][1:]
    trouble, begin = ("the loss is NaN or infinite", 7) if every == 0 else ("0.weight holds NaN or infinity", 9)
    assert switch.notes == [f"{trouble}: going back to step {begin} to find the layer"]


def test_late_look_finds_the_exact_step(tmp_path: Path) -> None:
    model, wild = _model("output")
    switch = Switch(wild, 10)
    trainer = make_trainer(tmp_path, model=model, poll_every=7, checkpoint_every=0, callbacks=[switch])
    with pytest.raises(NonFiniteError, match=r"\[3 Wild\].*epoch 2, batch 4"):
        trainer.fit()
    assert switch.notes == ["the loss is NaN or infinite: going back to step 7 to find the layer"]


@pytest.mark.parametrize("poll", [1, 5])
@pytest.mark.parametrize(("step", "place", "saved"), [(10, "epoch 2, batch 4", 9), (13, "epoch 2, batch 7", 12)])
def test_bad_gradient_names_the_layer(tmp_path: Path, poll: int, step: int, place: str, saved: int) -> None:
    model, wild = _model("gradient")
    trainer = make_trainer(tmp_path, model=model, poll_every=poll, callbacks=[Switch(wild, step)])
    with pytest.raises(NonFiniteError, match=rf"\[3 Wild\] its backward pass makes a gradient.*{place}"):
        trainer.fit()
    state = read_checkpoint(tmp_path / "last")
    assert state.state["step"] == saved
    assert all(np.isfinite(array).all() for array in state.weights.values())


def test_bad_data_and_bad_weights_are_told_apart(tmp_path: Path) -> None:
    trainer = make_trainer(None)
    images = nnlab.full((8, 1, 8, 8), float("nan"))
    batches = [(images, nnlab.zeros((8,), dtype="int64"))]
    with pytest.raises(NonFiniteError, match=r"\[data\] the batch of images already holds 512 NaN"):
        Trainer(trainer.model, trainer.optimizer, batches, epochs=1).fit()
    trainer = make_trainer(None)
    with nnlab.no_grad():
        trainer.model[6].bias.fill_(float("inf"))
    with pytest.raises(NonFiniteError, match=r"6.bias holds NaN or infinity before the first step"):
        make_trainer(tmp_path, model=trainer.model).fit()
    with pytest.raises(NonFiniteError, match=r"\[6.bias\] the weights already hold NaN or infinity"):
        make_trainer(None, model=trainer.model).fit()


def test_loss_alone(tmp_path: Path) -> None:
    def loss(output: nnlab.Tensor, target: nnlab.Tensor) -> nnlab.Tensor:
        return (output * 0).sum().log()

    with pytest.raises(NonFiniteError, match=r"\[loss\] the loss is -inf; the network's output was finite"):
        make_trainer(tmp_path, loss=loss).fit()


def test_validation_is_watched_too(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    wild = Wild("output")
    wild.on = True
    with pytest.raises(NonFiniteError, match=r"\[1 Wild\] its output holds .* \(evaluation, batch 0\)"):
        evaluate(nn.Sequential(trainer.model, wild), trainer.val_loader, loss=trainer.loss)


def test_a_huge_rate_is_stopped(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, clip_norm=None, callbacks=[At(4, lambda: None)])
    for group in trainer.optimizer.param_groups:
        group["lr"] = group["initial_lr"] = 1e30
    trainer.scheduler.base_lrs = [1e30]
    with pytest.raises(NonFiniteError, match=r"\[0 Conv2d\]|\[1 BatchNorm2d\]|\[6 Linear\]"):
        trainer.fit()


class Recorder(nn.Module):
    """The identity; remembers its inputs, and gives NaN at the n-th."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n
        self.seen: list[np.ndarray] = []

    def forward(self, x: nnlab.Tensor) -> nnlab.Tensor:
        if self.training:
            self.seen.append(x.detach().numpy().copy())
        return x * float("nan") if self.training and len(self.seen) >= self.n else x


def test_the_replay_draws_the_same_dropout_mask(tmp_path: Path) -> None:
    nnlab.manual_seed(0)
    recorder = Recorder(10)
    model = nn.Sequential(nn.Dropout(0.5), recorder, nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(NonFiniteError, match=r"\[1 Recorder\]"):
        make_trainer(tmp_path, model=model).fit()
    assert len(recorder.seen) == 11
    np.testing.assert_array_equal(recorder.seen[9], recorder.seen[10])
