"""A run that was stopped in any way and resumed ends with the same bits as one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import At, environment, make_trainer

from nnlab.errors import CheckpointError
from nnlab.train import Interrupted, read_checkpoint, read_log
from nnlab.train.logs import Row

SCRIPT = Path(__file__).with_name("tiny.py")
SIGKILLED = -signal.SIGKILL
CARRIED = {"images": {}, "text": {"h": (2, 4, 6), "c": (2, 4, 6)}}


def _run(*args: object) -> int:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, args)], capture_output=True, text=True, env=environment()
    )
    assert done.returncode in (0, SIGKILLED), done.stderr
    return done.returncode


def _untimed(rows: list[Row]) -> list[Row]:
    return [{k: v for k, v in row.items() if k not in ("seconds", "examples_per_second")} for row in rows]


def _assert_same(run: Path, other: Path) -> None:
    names = [path.relative_to(other) for path in other.glob("*/*.safetensors") if "previous" not in path.parts]
    assert len(names) >= 3
    for name in names:
        assert (run / name).read_bytes() == (other / name).read_bytes(), name
    assert _untimed(read_log(run)) == _untimed(read_log(other))
    ours, theirs = (read_checkpoint(folder / "last").state for folder in (run, other))
    assert _untimed(ours.pop("history")) == _untimed(theirs.pop("history"))
    assert ours == theirs


def test_the_run_learns(uninterrupted: Path, kind: str) -> None:
    rows = read_log(uninterrupted)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["step"] for row in rows] == [7, 14, 21]
    assert rows[2]["train_loss"] < rows[0]["train_loss"]
    assert kind == "text" or rows[2]["val_accuracy"] > 0.8


@pytest.mark.parametrize(("kind", "workers"), [("images", 0), ("images", 2), ("text", 0)], indirect=["kind"])
def test_kill_in_mid_epoch(tmp_path: Path, uninterrupted: Path, kind: str, workers: int) -> None:
    run, how = tmp_path / "run", ("--kind", kind, "--workers", workers)
    assert _run(run, *how, "--die-at-step", 11) == SIGKILLED
    found = read_checkpoint(run / "last")
    assert found.state["step"] == 9  # checkpoint_every=3
    assert {name: array.shape for name, array in found.carried.items()} == CARRIED[kind]
    assert _run(run, *how, "--resume") == 0
    _assert_same(run, uninterrupted)


@pytest.mark.parametrize("rename", [14, 15, 21])
def test_kill_while_a_checkpoint_is_renamed(tmp_path: Path, uninterrupted: Path, kind: str, rename: int) -> None:
    run = tmp_path / "run"
    assert _run(run, "--kind", kind, "--die-at-rename", rename) == SIGKILLED
    present = sorted(p.name for p in run.iterdir() if p.is_dir())
    assert read_checkpoint(run / "last").state["step"] == {14: 7, 15: 9, 21: 14}[rename]
    make_trainer(run, kind=kind).fit(resume=True)
    _assert_same(run, uninterrupted)
    assert present != ["best", "last", "previous"]  # the kill did strike between renames


@pytest.mark.parametrize("step", [5, 7, 9])
def test_ctrl_c_saves_and_leaves(tmp_path: Path, uninterrupted: Path, kind: str, step: int) -> None:
    run = tmp_path / "run"
    trainer = make_trainer(run, kind=kind, callbacks=[At(step, lambda: os.kill(os.getpid(), signal.SIGINT))])
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match=f"stopped; saved in {run / 'last'}") as stop:
        trainer.fit()
    assert stop.value.exit_code == 130 and isinstance(stop.value, KeyboardInterrupt)
    assert signal.getsignal(signal.SIGINT) is before
    assert read_checkpoint(run / "last").state["step"] == step
    make_trainer(run, kind=kind).fit(resume=True)
    _assert_same(run, uninterrupted)


def test_ctrl_c_during_validation(tmp_path: Path, uninterrupted: Path, kind: str) -> None:
    run = tmp_path / "run"

    class InValidation(At):
        def on_batch_end(self, trainer: object) -> None:
            if trainer.phase == "validate" and trainer.step == self.step:  # type: ignore[attr-defined]
                self.action()

    trainer = make_trainer(run, kind=kind, callbacks=[InValidation(14, lambda: os.kill(os.getpid(), signal.SIGTERM))])
    with pytest.raises(Interrupted) as stop:
        trainer.fit()
    assert stop.value.exit_code == 143
    found = read_checkpoint(run / "last")
    assert (found.state["epoch"], found.state["batch"]) == (1, 7)
    assert {name: array.shape for name, array in found.carried.items()} == CARRIED[kind]  # not validation's
    make_trainer(run, kind=kind).fit(resume=True)
    _assert_same(run, uninterrupted)


def test_resume_when_nothing_was_saved_starts_anew(tmp_path: Path, uninterrupted: Path, kind: str) -> None:
    make_trainer(tmp_path / "run", kind=kind).fit(resume=True)
    _assert_same(tmp_path / "run", uninterrupted)


def test_resume_of_a_finished_run_does_nothing(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, epochs=1)
    trainer.fit()
    weights = (tmp_path / "last" / "weights.safetensors").read_bytes()
    again = make_trainer(tmp_path, epochs=1)
    assert again.fit(resume=True) == trainer.history
    assert (tmp_path / "last" / "weights.safetensors").read_bytes() == weights
    assert again.result is not None and again.result.accuracy == trainer.history[-1]["val_accuracy"]


def test_a_damaged_checkpoint_is_an_error_and_the_previous_one_helps(
    tmp_path: Path, uninterrupted: Path, kind: str
) -> None:
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        make_trainer(run, kind=kind, callbacks=[At(11, lambda: os.kill(os.getpid(), signal.SIGINT))]).fit()
    weights = run / "last" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"weights.safetensors is damaged: .*the checkpoint before it can"):
        make_trainer(run, kind=kind).fit(resume=True)
    make_trainer(run, kind=kind).fit(resume="previous")
    _assert_same(run, uninterrupted)


def test_another_loader_is_refused(tmp_path: Path) -> None:
    make_trainer(tmp_path, epochs=1).fit()
    other = make_trainer(tmp_path)
    other.train_loader.seed = 6
    with pytest.raises(CheckpointError, match="other training data: seed was 5, now it is 6"):
        other.fit(resume=True)
    shorter = make_trainer(tmp_path, fast_dev_run=True)
    with pytest.raises(CheckpointError, match="batches_per_epoch was 7, now it is 3"):
        shorter.fit(resume=True)
