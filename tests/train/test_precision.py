"""The precisions of a Trainer: what is computed in them, overflow, and resuming with the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import At, make_trainer
from typer.testing import CliRunner

import nnlab
from nnlab import nn, optim
from nnlab.cli.app import app
from nnlab.data import ArrayImages, DataLoader
from nnlab.errors import ArgumentError, CheckpointError, NonFiniteError
from nnlab.models import lenet5
from nnlab.train import Callback, Trainer, read_checkpoint
from nnlab.train.config import TrainConfig

HALF = {"bf16": "bfloat16", "fp16": "float16"}


class _Stop(Exception):
    pass


def stop() -> None:
    raise _Stop


def with_scale(trainer: Trainer, scale: float) -> Trainer:
    scaler = trainer.precision.scaler
    scaler.load_state_dict({**scaler.state_dict(), "scale": scale})
    return trainer


def dtypes_of(trainer: Trainer) -> dict[str, set[str]]:
    """What the modules of a network return in training and validation, and its loss, by the kind of module."""
    seen: dict[str, set[str]] = {}

    def note(module: nn.Module, args: Any, output: nnlab.Tensor) -> None:
        seen.setdefault(type(module).__name__, set()).add(output.dtype.name)

    for module in (*trainer.model.modules(), trainer.loss):
        module.register_forward_hook(note)
    return seen


@pytest.mark.parametrize("precision", HALF)
def test_what_is_computed_in_a_half_type(precision: str) -> None:
    trainer = make_trainer(None, precision=precision, epochs=1)
    seen = dtypes_of(trainer)
    trainer.fit()
    assert seen["Conv2d"] == seen["Linear"] == {HALF[precision]}
    assert seen["CrossEntropyLoss"] == {"float32"}
    assert {p.dtype.name for p in trainer.model.parameters()} == {"float32"}
    assert {p.grad.dtype.name for p in trainer.model.parameters()} == {"float32"}
    assert trainer.result is not None and trainer.result.outputs.dtype == np.float32


@pytest.mark.parametrize("precision", HALF)
def test_lenet_follows_float32(precision: str) -> None:
    """Some steps of LeNet: another way, to nearly the same losses."""

    def losses(precision: str) -> list[float]:
        nnlab.manual_seed(2)
        random = np.random.default_rng(0)
        labels = random.integers(0, 4, 64)
        images = random.integers(0, 100, (64, 16, 16)) + 30 * labels[:, None, None]
        model = lenet5(num_classes=4, in_channels=1, image_size=16)
        found: list[float] = []

        class Losses(Callback):
            def on_batch_end(self, trainer: Trainer) -> None:
                found.append(trainer.sums.loss)

        trainer = Trainer(
            model,
            optim.Adam(model.parameters(), lr=1e-3),
            DataLoader(ArrayImages(images.astype(np.uint8), labels, ["a", "b", "c", "d"]), 8),
            epochs=2,
            precision=precision,
            callbacks=[Losses()],
        )
        trainer.fit()
        assert trainer.precision.scaler.get_scale() == (65536.0 if precision == "fp16" else 1.0)
        return found

    plain, low = losses("float32"), losses(precision)
    assert len(plain) == 16 and plain != low
    np.testing.assert_allclose(low, plain, rtol=0.03)


@pytest.mark.parametrize("kind", ["images", "text"])
@pytest.mark.parametrize("precision", ["bf16", "fp16", "tf32"])
def test_resumed_with_the_same_bits(tmp_path: Path, precision: str, kind: str) -> None:
    """A run that was broken off in the second epoch; the scale has been halved before, and steps skipped."""
    options: dict[str, Any] = {"precision": precision, "kind": kind, "accumulate": 2}
    begin = 2.0**24 if kind == "text" else 2.0**20
    whole = make_trainer(tmp_path / "whole", **options)
    (with_scale(whole, begin) if precision == "fp16" else whole).fit()
    broken = make_trainer(tmp_path / "broken", callbacks=[At(6, stop)], **options)
    with pytest.raises(_Stop):
        (with_scale(broken, begin) if precision == "fp16" else broken).fit()
    resumed = make_trainer(tmp_path / "broken", **options)
    resumed.fit(resume=True)
    for name in ("weights", "optimizer"):
        ours, theirs = ((tmp_path / run / "last" / f"{name}.safetensors").read_bytes() for run in ("broken", "whole"))
        assert ours == theirs, name
    ours, theirs = (read_checkpoint(tmp_path / run / "last").state for run in ("broken", "whole"))
    assert ours["precision"] == precision
    assert ours["scaler"] == theirs["scaler"] == whole.precision.scaler.state_dict()
    if precision == "fp16":
        assert 2.0**10 < ours["scaler"]["scale"] < begin and ours["scaler"]["_growth_tracker"] > 3


def test_an_overflow_changes_no_weight_and_halves_the_scale(tmp_path: Path) -> None:
    trainer = with_scale(make_trainer(tmp_path, precision="fp16", callbacks=[At(1, stop)]), 2.0**100)
    before = {name: p.detach().numpy().copy() for name, p in trainer.model.named_parameters()}
    with pytest.raises(_Stop):
        trainer.fit()
    assert trainer.step == 1 and trainer.precision.scaler.get_scale() == 2.0**99
    for name, parameter in trainer.model.named_parameters():
        np.testing.assert_array_equal(parameter.detach().numpy(), before[name])


def test_clipping_sees_gradients_without_the_scale() -> None:
    """A limit that no gradient of this size reaches changes nothing."""
    ends = []
    for clip in (1e3, None):
        trainer = make_trainer(None, precision="fp16", epochs=1, clip_norm=clip)
        trainer.fit()
        ends.append([p.detach().numpy().copy() for p in trainer.model.parameters()])
    for clipped, plain in zip(*ends, strict=True):
        np.testing.assert_array_equal(clipped, plain)


def test_tf32_is_a_setting_while_a_run_lasts() -> None:
    seen: list[tuple[str, str]] = []

    def look() -> None:
        seen.append((nnlab.get_float32_matmul_precision(), nnlab.get_float32_conv_precision()))
        raise _Stop

    before = nnlab.get_float32_matmul_precision(), nnlab.get_float32_conv_precision()
    with pytest.raises(_Stop):
        make_trainer(None, precision="tf32", callbacks=[At(1, look)]).fit()
    with pytest.raises(_Stop):
        make_trainer(None, callbacks=[At(1, look)]).fit()
    assert seen == [("high", "medium"), before]
    assert (nnlab.get_float32_matmul_precision(), nnlab.get_float32_conv_precision()) == before


def test_precisions_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"\[Trainer\] 'precision' must be one of float32, tf32, bf16, fp16, got"):
        make_trainer(None, precision="half")
    with pytest.raises(ArgumentError, match=r"\[config\] 'precision' must be one of float32, tf32, bf16, fp16"):
        TrainConfig(precision="half")
    make_trainer(tmp_path, precision="bf16", epochs=1).fit()
    with pytest.raises(CheckpointError, match="was saved with precision 'bf16', now it is 'float32'"):
        make_trainer(tmp_path).fit(resume=True)


def test_the_layer_that_overflows_in_float16_is_named() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    trainer = make_trainer(None, model=model, precision="fp16")
    with nnlab.no_grad():
        model[1].bias.fill_(1e6)  # more than float16 holds
    with pytest.raises(NonFiniteError, match=r"\[1 Linear\] its output holds 0 NaN and 24 infinite of 24 values"):
        trainer.fit()


def test_the_commands_flag(tmp_path: Path) -> None:
    def run(*args: object) -> Any:
        usual = ["train", "--model", "lenet5", "--image-size", 16, "--limit-train", 32, "--limit-val", 16]
        given = [str(arg) for arg in (*usual, "--device", "cpu", "--epochs", 1, "--batch-size", 8, *args)]
        return CliRunner().invoke(app, given, env={"COLUMNS": "200", "NO_COLOR": "1"})

    done = run("--precision", "fp16", "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "cosine schedule, fp16, 1 epoch of" in done.output
    assert "loss scale 65536" in done.output
    assert TrainConfig.load(tmp_path / "run").precision == "fp16"
    assert read_checkpoint(tmp_path / "run" / "last").state["scaler"]["scale"] == 65536.0
    clash = CliRunner().invoke(app, ["train", "--resume", "--out", str(tmp_path / "run"), "--precision", "bf16"])
    assert clash.exit_code == 1 and "--precision bf16 (the run has fp16)" in clash.stderr
