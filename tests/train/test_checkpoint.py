"""Checkpoints: round trip, damage, and a kill at every step of saving."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import environment

import nnlab
from nnlab import nn
from nnlab.errors import CheckpointError
from nnlab.train.checkpoint import exists, load_weights, read_checkpoint, save_checkpoint


def _save(folder: Path, value: float, **options: object) -> None:
    save_checkpoint(
        folder,
        weights={"a.weight": np.full((3, 2), value, np.float32), "steps": np.int64(int(value))},
        optimizer={"state": {0: {"momentum": nnlab.full((2,), value), "step": int(value)}}, "groups": [{"lr": 0.1}]},
        state={"step": int(value), "history": [{"loss": 0.1 + 0.2}]},
        **options,  # type: ignore[arg-type]
    )


def test_round_trip_keeps_every_bit(tmp_path: Path) -> None:
    _save(tmp_path / "last", 7.0)
    found = read_checkpoint(tmp_path / "last")
    assert found.weights["a.weight"].dtype == np.float32
    np.testing.assert_array_equal(found.weights["a.weight"], np.full((3, 2), 7.0, np.float32))
    assert found.state == {"step": 7, "history": [{"loss": 0.1 + 0.2}]}
    assert found.optimizer is not None
    assert found.optimizer["groups"] == [{"lr": 0.1}]
    np.testing.assert_array_equal(found.optimizer["state"][0]["momentum"], [7.0, 7.0])
    assert found.optimizer["state"][0]["step"] == 7
    assert sorted(p.name for p in (tmp_path / "last").iterdir()) == [
        "optimizer.safetensors", "state.json", "weights.safetensors",
    ]  # fmt: skip


def test_saving_replaces_and_keeps_the_previous_one(tmp_path: Path) -> None:
    for value in (1.0, 2.0, 3.0):
        _save(tmp_path / "last", value, previous=tmp_path / "previous")
    assert read_checkpoint(tmp_path / "last").state["step"] == 3
    assert read_checkpoint(tmp_path / "previous").state["step"] == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last", "previous"]


# Saves the values 1 and 2; a child of it is killed at call number N of the functions that touch the disk.
_KILLED = """
import os, shutil, signal, sys
from pathlib import Path
import numpy as np, safetensors.numpy
from nnlab.train import checkpoint
root, keep = Path(sys.argv[1]), sys.argv[2] == "keep"
calls, limit = 0, 0
def counted(function, after):
    def call(*args, **kwargs):
        global calls
        calls += 1
        if calls == limit and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        number = calls
        try:
            return function(*args, **kwargs)
        finally:
            if number == limit and after:
                os.kill(os.getpid(), signal.SIGKILL)
    return call
def save(folder, value):
    checkpoint.save_checkpoint(folder, weights={"w": np.full(1000, value)}, optimizer={"m": np.full(10, value)},
                               state={"step": value}, previous=folder.parent / "previous" if keep else None)
names = [(os, "rename"), (os, "fsync"), (os, "mkdir"), (os, "unlink"), (os, "rmdir"), (safetensors.numpy, "save_file")]
number, alive = 0, False
while not alive:
    number += 1
    for after in (False, True):
        folder = root / f"{number}-{after}" / "last"
        save(folder, 1)
        save(folder, 2)
        child = os.fork()
        if child == 0:
            limit = number
            for module, name in names:
                setattr(module, name, counted(getattr(module, name), after))
            save(folder, 3)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        alive = os.WIFEXITED(status)
        found = checkpoint.read_checkpoint(folder)
        step = found.state["step"]
        assert step in (2, 3) and (found.weights["w"] == step).all() and (found.optimizer["m"] == step).all()
        assert alive <= (step == 3)
        save(folder, 4)  # the next save tidies up after the kill
        assert checkpoint.read_checkpoint(folder).state["step"] == 4
        left = sorted(p.name for p in folder.parent.iterdir())
        assert left == (["last", "previous"] if keep else ["last"]), (number, after, left)
        if keep:
            assert checkpoint.read_checkpoint(folder.parent / "previous").state["step"] == step
print(number)
"""


@pytest.mark.parametrize("keep", ["keep", "drop"])
def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path: Path, keep: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tmp_path), keep], capture_output=True, text=True, env=environment()
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15  # so many moments were tried, before and after each call


def test_a_kill_during_the_first_save_leaves_none(tmp_path: Path) -> None:
    (tmp_path / "last.tmp").mkdir()
    (tmp_path / "last.tmp" / "weights.safetensors").write_bytes(b"half")
    assert not exists(tmp_path / "last")
    _save(tmp_path / "last", 1.0)
    assert read_checkpoint(tmp_path / "last").state["step"] == 1


def _flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_damage_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "last"
    weights, optimizer, state = (folder / n for n in ("weights.safetensors", "optimizer.safetensors", "state.json"))

    def damaged(message: str) -> None:
        with pytest.raises(CheckpointError, match=message):
            read_checkpoint(folder)
        _save(folder, 1.0)

    damaged("no checkpoint at .*last")
    _flip(weights, -1)
    damaged("weights.safetensors is damaged: its SHA-256 differs")
    weights.write_bytes(weights.read_bytes()[:-5])
    damaged(r"weights.safetensors is damaged: \d+ bytes, \d+ were written")
    optimizer.unlink()
    damaged("optimizer.safetensors is missing")
    state.write_text(state.read_text()[:40])
    damaged("state.json is damaged: not JSON")
    state.write_text(state.read_text().replace('"step": 1', '"step": 2'))
    damaged("state.json is damaged: its checksum differs")
    state.write_text(json.dumps({**json.loads(state.read_text()), "format": 99}))
    damaged("has format 99, this nnlab reads format 1")


def test_weights_of_another_model_are_named(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", weights=nn.Sequential(nn.Linear(3, 2)).state_dict(), state={})
    found = read_checkpoint(tmp_path / "last")
    with pytest.raises(CheckpointError, match=r"weights.safetensors is of another model: .*0.weight is \(2, 3\)"):
        load_weights(nn.Sequential(nn.Linear(3, 4)), found)
    with pytest.raises(CheckpointError, match=r"missing: 1.weight"):
        load_weights(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)), found)
    model = nn.Sequential(nn.Linear(3, 2))
    load_weights(model, found)
    np.testing.assert_array_equal(model[0].weight.detach().numpy(), found.weights["0.weight"])


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _save(tmp_path / "last", 1.0)

    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nnlab.train.checkpoint.os.fsync", refuse)
    with pytest.raises(CheckpointError, match=r"cannot save .*No space left"):
        _save(tmp_path / "last", 2.0)
    assert read_checkpoint(tmp_path / "last").state["step"] == 1
