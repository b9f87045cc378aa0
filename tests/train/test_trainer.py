"""The loop's options."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from tiny import make_trainer

import nnlab
from nnlab import nn, optim
from nnlab.data import ArrayDataset, DataLoader
from nnlab.errors import ArgumentError, DataError
from nnlab.optim.lr_scheduler import ReduceLROnPlateau
from nnlab.train import Callback, EarlyStopping, Plots, TensorBoard, Trainer, evaluate, read_checkpoint, read_log
from nnlab.train.progress import Bar, Lines, clock, display, summary


def _plain(**options: Any) -> Trainer:
    """A dense network without batch normalisation or dropout, over eight batches of four vectors."""
    nnlab.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((32, 5)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    model = nn.Linear(5, 2)
    loader = DataLoader(ArrayDataset(x, y), options.pop("batch_size", 4))
    settings = {"epochs": 2, **options}
    return Trainer(model, optim.SGD(model.parameters(), lr=0.5), loader, loader, **settings)


def test_one_step_by_hand() -> None:
    trainer = _plain(epochs=1, fast_dev_run=True)
    images, target = next(iter(trainer.train_loader))
    x, y = images.numpy().astype(np.float64), target.numpy()
    w, b = (p.detach().numpy().astype(np.float64) for p in trainer.model.parameters())
    trainer.training.count = trainer.batches = 1
    row = trainer.fit()[0]
    logits = x @ w.T + b
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    d = (p - np.eye(2)[y]) / 4
    np.testing.assert_allclose(trainer.model.weight.detach().numpy(), w - 0.5 * d.T @ x, rtol=1e-5)
    assert row["train_loss"] == pytest.approx(-np.log(p[np.arange(4), y]).mean(), rel=1e-6)
    assert row["train_accuracy"] == (p.argmax(1) == y).mean()
    assert (row["epoch"], row["step"], row["lr"]) == (1, 1, 0.5)


def test_accumulation_equals_a_larger_batch() -> None:
    small, large = _plain(accumulate=3), _plain(batch_size=12)
    small.fit()
    large.fit()
    assert small.step == large.step == 6  # 8 batches: two of three and one of two; 32 examples: 12, 12, 8
    for a, b in zip(small.model.parameters(), large.model.parameters(), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert small.history[-1]["train_accuracy"] == large.history[-1]["train_accuracy"]


def test_accumulation_resumes_between_groups(tmp_path: Path) -> None:
    whole = make_trainer(tmp_path / "a", accumulate=2, checkpoint_every=1, epochs=1)
    whole.fit()
    part = make_trainer(tmp_path / "b", accumulate=2, checkpoint_every=1, epochs=1, callbacks=[_Raise(3)])
    with pytest.raises(RuntimeError, match="enough"):
        part.fit()
    assert read_checkpoint(tmp_path / "b" / "last").state["batch"] == 4
    make_trainer(tmp_path / "b", accumulate=2, checkpoint_every=1, epochs=1).fit(resume=True)
    name = "last/weights.safetensors"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


class _Raise(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_batch_end(self, trainer: Trainer) -> None:
        if trainer.step == self.step:
            raise RuntimeError("enough")


def test_clipping_limits_the_step() -> None:
    trainer = _plain(clip_norm=1e-3, fast_dev_run=True)
    before = [p.detach().numpy().copy() for p in trainer.model.parameters()]
    trainer.training.count = trainer.batches = 1
    trainer.fit()
    after = [p.detach().numpy() for p in trainer.model.parameters()]
    moved = np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(after, before, strict=True)))
    assert moved == pytest.approx(0.5 * 1e-3, rel=1e-3)


def test_overfit_batches_uses_the_first_ones_for_both(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, overfit_batches=2, epochs=25, scheduler=None)
    rows = trainer.fit()
    assert trainer.batches == 2 and trainer.step == 50
    assert rows[-1]["val_accuracy"] == 1.0
    assert trainer.result is not None and len(trainer.result.target) == 16
    np.testing.assert_array_equal(trainer.validation.image(9), trainer.training.fixed[1][0][1].numpy())  # type: ignore[index, union-attr]


def test_fast_dev_run_takes_three_batches(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, fast_dev_run=True)
    rows = trainer.fit()
    assert len(rows) == 1 and rows[0]["step"] == 3
    assert (tmp_path / "best" / "weights.safetensors").exists()


def test_early_stopping_also_after_resume(tmp_path: Path) -> None:
    def make() -> Trainer:
        trainer = make_trainer(tmp_path, epochs=20, scheduler=None, callbacks=[EarlyStopping(2)])
        for group in trainer.optimizer.param_groups:
            group["lr"] = 0.0
        return trainer

    trainer = make()
    rows = trainer.fit()
    best = trainer.best
    assert best is not None and len(rows) == best["epoch"] + 2 < 20
    assert trainer.stop == f"val_accuracy has not improved on epoch {best['epoch']} for 2 epochs"
    again = make()
    assert again.fit(resume=True) == rows
    with pytest.raises(ArgumentError, match="'patience' must be positive, got 0"):
        EarlyStopping(0)


def test_best_holds_the_best_epoch(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    rows = trainer.fit()
    values = [row["val_accuracy"] for row in rows]
    best = 1 + values.index(max(values))
    found = read_checkpoint(tmp_path / "best")
    assert found.state["epoch"] == best and found.optimizer is None
    trainer.model.load_state_dict(found.weights)
    assert trainer.validate().accuracy == max(values)


def test_plateau_is_stepped_by_epochs(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, epochs=4, scheduler=None)
    trainer.scheduler = ReduceLROnPlateau(
        trainer.optimizer, factor=0.5, patience=0, threshold=1e9, threshold_mode="abs"
    )
    trainer.fit()
    assert [row["lr"] for row in trainer.history] == [0.1, 0.1, 0.05, 0.025]


def test_a_regression_has_no_accuracy(tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    loader = DataLoader(ArrayDataset(x, 3 * x), 8)
    model = nn.Linear(1, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    trainer = Trainer(model, optimizer, loader, loader, epochs=5, loss=nn.MSELoss(), out=tmp_path)
    rows = trainer.fit()
    assert rows[-1]["train_accuracy"] is None and rows[-1]["val_accuracy"] is None
    assert trainer.best is not None and trainer.best["name"] == "val_loss" and trainer.best["epoch"] == 5
    assert rows[-1]["val_loss"] < 0.05


def test_impossible_arguments() -> None:
    with pytest.raises(ArgumentError, match=r"\[Trainer\] 'epochs' must be at least 1, got 0"):
        _plain(epochs=0)
    model = nn.Linear(2, 2)
    with pytest.raises(DataError, match="the training loader has no batch"):
        Trainer(model, optim.SGD(model.parameters(), lr=0.1), [], epochs=1)
    with pytest.raises(DataError, match="there is no batch to evaluate"):
        evaluate(model, [], loss=nn.CrossEntropyLoss())


def test_evaluation_restores_the_mode_and_finds_the_worst() -> None:
    class Fixed(nn.Module):
        def forward(self, x: nnlab.Tensor) -> nnlab.Tensor:
            return x

    logits = np.array([[2.0, 0, 0], [0, 1, 0], [0, 0, 9], [5, 0, 0]], np.float32)
    target = np.array([0, 0, 1, 2])
    batches = [(nnlab.from_numpy(logits[i : i + 3]), nnlab.from_numpy(target[i : i + 3])) for i in (0, 3)]
    model = Fixed().train()
    result = evaluate(model, batches, loss=nn.CrossEntropyLoss())
    assert model.training
    assert result.accuracy == 0.25 and result.top5 == 1.0
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert result.loss == pytest.approx(-np.log(p[np.arange(4), target]).mean(), rel=1e-6)
    assert [w[:3] for w in result.worst(2)] == [(2, 1, 2), (3, 2, 0)]
    assert result.worst(5)[2][3] == pytest.approx(p[1, 1], rel=1e-6)


def test_events_and_pictures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    pytest.importorskip("matplotlib")
    plots = Plots(["left", "right", "top"], lambda pixels: pixels * 0.25 + 0.4)
    make_trainer(tmp_path, callbacks=[plots, TensorBoard()]).fit()
    for name in ("curves", "confusion", "filters", "misclassified"):
        content = (tmp_path / f"{name}.png").read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n" and len(content) > 2000
    events = b"".join(path.read_bytes() for path in (tmp_path / "tensorboard").iterdir())
    assert b"accuracy/val" in events and b"loss/train" in events and b"run/lr" in events


def _shown(terminal: bool, tmp_path: Path) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=120)
    shown = display(console)
    assert isinstance(shown, Bar if terminal else Lines)
    shown.every = 0.0  # type: ignore[attr-defined]
    trainer = make_trainer(tmp_path, callbacks=[shown])
    trainer.fit()
    console.print(summary(trainer, 3661))
    return stream.getvalue()


def test_plain_lines_without_a_terminal(tmp_path: Path) -> None:
    text = _shown(False, tmp_path)
    assert "\x1b" not in text and "\r" not in text
    lines = text.splitlines()
    assert any(line.startswith("epoch 2/3  batch 3/7  loss ") and "images/s" in line for line in lines)
    last = next(line for line in lines if line.startswith("epoch 3/3  loss"))
    row = read_log(tmp_path)[-1]
    assert f"val accuracy {100 * row['val_accuracy']:.2f} %" in last
    assert "time                 1:01:01" in text
    assert "best/" in text


def test_bar_in_a_terminal(tmp_path: Path) -> None:
    text = _shown(True, tmp_path)
    assert "\x1b[" in text and "images/s" in text and "left" in text and "7/7" in text
    assert clock(59.6) == "1:00" and clock(7) == "0:07"


def test_csv_agrees_with_jsonl(uninterrupted: Path) -> None:
    with (uninterrupted / "log.csv").open(newline="") as file:
        for line, row in zip(csv.DictReader(file), read_log(uninterrupted), strict=True):
            assert line.keys() == row.keys()
            for name, value in row.items():
                assert float(line[name]) == pytest.approx(value, rel=1e-6)
