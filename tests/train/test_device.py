"""Training on a device other than the CPU, on arrays as strict as CuPy's: same bits, and no wait at each step."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tiny import At, make_trainer

import nnlab
import nnlab.backend
import nnlab.ops
from nnlab import nn
from nnlab.errors import NonFiniteError
from nnlab.train import Interrupted, Trainer, read_checkpoint
from tests.strict_device import StrictBackend


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> StrictBackend:
    """A device "cuda" without a GPU; operations with kernels run their array code."""
    backend = StrictBackend()
    real = nnlab.backend._backend
    monkeypatch.setattr(nnlab.backend, "_backend", lambda kind, i: backend if kind == "cuda" else real(kind, i))
    monkeypatch.setattr(nnlab.ops, "CUDA_KERNELS", frozenset())
    return backend


def test_same_bits_also_when_stopped_and_resumed(
    strict: StrictBackend, tmp_path: Path, uninterrupted: Path, kind: str
) -> None:
    stop = At(11, lambda: os.kill(os.getpid(), signal.SIGINT))
    trainer = make_trainer(tmp_path, kind=kind, device="cuda", callbacks=[stop])
    assert trainer.poll_every == 20
    with pytest.raises(Interrupted):
        trainer.fit()
    make_trainer(tmp_path, kind=kind, device="cuda").fit(resume=True)
    for name in ("last/weights.safetensors", "last/optimizer.safetensors", "best/weights.safetensors"):
        assert (tmp_path / name).read_bytes() == (uninterrupted / name).read_bytes(), name
    ours, theirs = (read_checkpoint(folder / "last").state["history"] for folder in (tmp_path, uninterrupted))
    for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
        assert [row[name] for row in ours] == [row[name] for row in theirs], name


def test_no_wait_at_each_step(strict: StrictBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    real = {name: getattr(nnlab.Tensor, name) for name in ("item", "numpy", "cpu")}

    def counted(name: str) -> object:
        def look(self: nnlab.Tensor) -> object:
            looks.append(name)
            return real[name](self)

        return look

    trainer = make_trainer(tmp_path, device="cuda", epochs=1, checkpoint_every=0, poll_every=7)
    with monkeypatch.context() as patch:
        for name in real:
            patch.setattr(nnlab.Tensor, name, counted(name))
        trainer._train_epoch()
    assert trainer.step == 7 and looks == ["item"]


class Spoil(nn.Module):
    """The identity; infinite from the n-th training batch on."""

    def __init__(self, trainer_step: list[int], n: int) -> None:
        super().__init__()
        self.at, self.n = trainer_step, n

    def forward(self, x: nnlab.Tensor) -> nnlab.Tensor:
        return (x.abs() * 1e4).exp() if self.at[0] >= self.n else x


def test_a_late_look_still_names_layer_and_step(strict: StrictBackend, tmp_path: Path) -> None:
    class Count(At):
        def on_fit_start(self, trainer: Trainer) -> None:
            at[0] = trainer.step

        def on_batch_end(self, trainer: Trainer) -> None:
            at[0] = trainer.step

    at = [0]
    nnlab.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), Spoil(at, 10), nn.Flatten(), nn.Linear(144, 3))
    trainer = make_trainer(tmp_path, model=model, device="cuda", checkpoint_every=0, callbacks=[Count(0, None)])
    with pytest.raises(NonFiniteError, match=r"\[2 Spoil\] its output holds .* infinite .*epoch 2, batch 4"):
        trainer.fit()
    assert read_checkpoint(tmp_path / "last").state["step"] == 7
