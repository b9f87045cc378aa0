"""The commands of language models, run in this process on a small text."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from nnlab.cli.app import app
from nnlab.train import read_checkpoint, read_log
from tests.text import markov

SMALL = ("--hidden", 8, "--layers", 1, "--embedding", 4, "--batch-size", 8, "--length", 20, "--device", "cpu")


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "120", "NO_COLOR": "1"})


def ok(*args: object) -> str:
    result = run(*args)
    assert result.exit_code == 0, result.output
    return result.output


def fails(*args: object) -> str:
    """The one line on standard error."""
    result = run(*args)
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "chain.txt"
    path.write_text(markov.text(4000, 5))
    return path


@pytest.fixture(scope="module")
def trained(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "chain"
    shown = ok("lm", "train", "--data", text, *SMALL, "--epochs", 3, "--lr", 0.03, "--out", folder)
    assert "3,600 training and 400 held-out characters, 5 different ones" in shown
    assert "3 epochs of 23 batches of 8 × 20 characters" in shown
    assert re.search(r"validation loss +\d\.\d{4} bits per character", shown)
    assert re.search(r"validation accuracy +\d\d\.\d\d % \(399 characters\)", shown)
    assert re.search(r"training speed +\d+ characters/s", shown)
    return folder


def test_run_folder(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert {"config.json", "vocabulary.json", "log.csv", "log.jsonl", "last", "best"} <= names
    assert ("curves.png" in names) == (importlib.util.find_spec("matplotlib") is not None)
    assert not {"confusion.png", "data.json"} & names
    config = json.loads((trained / "config.json").read_text())
    assert (config["command"], config["hidden"], config["lr"], config["clip_norm"]) == ("lm train", 8, 0.03, 1.0)
    assert json.loads((trained / "vocabulary.json").read_text()) == {"characters": " abcd"}
    assert [row["step"] for row in read_log(trained)] == [23, 46, 69]


def test_graphs(text: Path, tmp_path: Path) -> None:
    """The flag of ``nnlab train``: the same losses on ``emulated``, and a note where it cannot be."""
    usual = (
        "lm", "train", "--data", text, *SMALL[:-1], "emulated", "--layers", 2, "--length", 15, "--batch-size", 48,
        "--val-fraction", 0.01,
    )  # fmt: skip
    rows = []
    for flag in ("--graph", "--no-graph"):
        assert "no graph" not in ok(*usual, flag, "--epochs", 2, "--out", tmp_path / flag)
        rows.append([(row["train_loss"], row["val_loss"]) for row in read_log(tmp_path / flag)])
    assert rows[0] == rows[1] and len(rows[0]) == 2
    shown = ok(*usual, "--graph", "--poll-every", 1, "--epochs", 1, "--fast-dev-run", "--out", tmp_path / "looks")
    assert "no graph: every loss is looked at (poll_every 1)" in shown


def test_eval(trained: Path, text: Path, tmp_path: Path) -> None:
    rows, shown = read_log(trained), ok("lm", "eval", "--checkpoint", trained)
    assert f"on 399 characters of the held-out end of {text}" in shown
    assert f"bits per character  {min(row['val_loss'] for row in rows):.4f}" in shown
    found = json.loads(ok("lm", "eval", "--checkpoint", trained / "last", "--json"))
    assert found["bits_per_character"] == rows[-1]["val_loss"]
    assert found["perplexity"] == pytest.approx(2 ** rows[-1]["val_loss"])
    assert found["accuracy"] == rows[-1]["val_accuracy"] and found["characters"] == 399
    other = tmp_path / "other.txt"
    other.write_text(markov.text(1500, 6))
    found = json.loads(ok("lm", "eval", "--checkpoint", trained, "--data", other, "--json"))
    assert found["characters"] == 1499
    assert markov.bits(markov.text(1500, 6)) < found["bits_per_character"] < markov.entropy_rate() + 0.3
    other.write_text("abcd e")
    assert "got 'e' (U+0065) at position 5" in fails("lm", "eval", "--checkpoint", trained, "--data", other)


def test_sample(trained: Path) -> None:
    args = ("lm", "sample", "--checkpoint", trained, "--prompt", "dab", "--length", 60, "--temperature", 0.8)
    first = ok(*args, "--seed", 1)
    assert first.startswith("dab") and len(first) == 64 and set(first) <= set("abcd \n")
    assert ok(*args, "--seed", 1) == first != ok(*args, "--seed", 2)
    assert ok(*args, "--top-k", 1) == ok(*args, "--top-k", 1, "--seed", 5)
    assert "got 'R' (U+0052) at position 0" in fails("lm", "sample", "--checkpoint", trained, "--prompt", "ROMEO:")
    assert "'temperature' must be positive" in fails(*args, "--temperature", 0)


def test_resume_ends_as_an_uninterrupted_run(trained: Path, text: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    base = ("lm", "train", "--data", text, *SMALL, "--lr", 0.03, "--out", out)
    ok(*base, "--epochs", 3, "--schedule", "none", "--dropout", 0.3)
    weights = (out / "last" / "weights.safetensors").read_bytes()
    out.rename(tmp_path / "whole")
    ok(*base, "--epochs", 1, "--schedule", "none", "--dropout", 0.3)
    shown = ok("lm", "train", "--resume", "--out", out, "--epochs", 3)
    assert "continuing in epoch 2 after batch 0 (step 23)" in shown
    assert (out / "last" / "weights.safetensors").read_bytes() == weights
    assert set(read_checkpoint(out / "last").carried) == {"h", "c"}
    assert "--length 9 (the run has 20)" in fails("lm", "train", "--resume", "--out", out, "--length", 9)
    text_before = text.read_text()
    try:
        text.write_text(text_before.replace("d", "b", 1))
        assert "with other training data: sha256" in fails("lm", "train", "--resume", "--out", out, "--epochs", 4)
    finally:
        text.write_text(text_before)


def test_images_and_texts_are_kept_apart(
    trained: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "belongs to 'nnlab lm train', not to 'nnlab train'" in fails("eval", "--checkpoint", trained)
    assert "belongs to 'nnlab lm train', not to 'nnlab train'" in fails("train", "--resume", "--out", trained)
    monkeypatch.chdir(tmp_path)
    ok("lm", "train", "--data", text, *SMALL, "--cell", "gru", "--epochs", 1)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["chain-gru"]
    assert "there is no run in runs/ to resume" in fails("train", "--resume")
    assert "epoch 2/2" in ok("lm", "train", "--resume", "--epochs", 2)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("train", "--data", "nothing.txt"), "must be one of tinyshakespeare or a text file, got 'nothing.txt'"),
        (("train", "--cell", "tanh"), "'cell' must be one of lstm, gru, rnn, got 'tanh'"),
        (("train", "--hidden", "0"), "'hidden' must be at least 1, got 0"),
        (("train", "--val-fraction", "1"), "'val_fraction' must be less than 1.0, got 1.0"),
        (("eval", "--checkpoint", "nowhere"), "there is no run folder nowhere"),
        (("sample", "--checkpoint", "nowhere"), "there is no run folder nowhere"),
    ],
)
def test_errors_are_one_line(
    args: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in fails("lm", *args)
    assert list(tmp_path.iterdir()) == []


def test_a_text_that_is_too_short(tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_text("hello")
    line = fails("lm", "train", "--data", path, "--out", tmp_path / "run")
    assert "hold more characters than there are streams (32), got '5 characters'" in line
    assert not (tmp_path / "run").exists()


def test_help() -> None:
    assert {"train", "eval", "sample"} <= set(ok("lm", "--help").split())
    shown = ok("lm", "train", "--help")
    assert "--cell" in shown and "--warmup-epochs" in shown and "--image-size" not in shown


def test_tiny_shakespeare(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The named text, a few steps: bits fall below those of a guess among 65 characters, 6.02."""
    if not (data_dir / "tinyshakespeare").is_dir():
        pytest.skip(f"no tinyshakespeare in {data_dir}")
    monkeypatch.chdir(data_dir)  # where a folder has the name of the text
    shown = ok("lm", "train", "--data", "tinyshakespeare", "--data-dir", ".", "--hidden", 32, "--batch-size", 64,
               "--length", 32, "--lr", 0.02, "--overfit-batches", 15, "--epochs", 2, "--device", "cpu",
               "--out", tmp_path / "run")  # fmt: skip
    assert "on tinyshakespeare: 1,003,855 training and 111,539 held-out characters, 65 different ones" in shown
    rows = read_log(tmp_path / "run")
    assert rows[1]["val_loss"] < 4.5 < rows[0]["train_loss"]
    written = ok("lm", "sample", "--checkpoint", tmp_path / "run", "--prompt", "ROMEO:", "--length", 40)
    assert written.startswith("ROMEO:") and len(written) == 47
