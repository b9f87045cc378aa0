"""The command line, run in this process; pictures are drawn by the test."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import nnlab
from nnlab.cli.app import app

Image = pytest.importorskip("PIL.Image")


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "120", "NO_COLOR": "1"})


def ok(*args: object) -> str:
    result = run(*args)
    assert result.exit_code == 0, result.output
    return result.output


def fails(*args: object, code: int = 1) -> str:
    """The one line on standard error."""
    result = run(*args)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/ and val/ with 12 and 4 colour pictures of each of two classes; sizes differ."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for part, count in (("train", 12), ("val", 4)):
        for name, channel in (("blue ones", 2), ("red", 0)):
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 100, (20 + i % 3, 24, 3), dtype=np.uint8)
                pixels[:, :, channel] += 120
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


SMALL = ("--model", "vgg_small", "--image-size", 8, "--batch-size", 8, "--device", "cpu", "--lr", 0.02)


@pytest.fixture(scope="module")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "red-or-blue"
    text = ok("train", "--data", pictures, *SMALL, "--epochs", 3, "--out", folder)
    assert "24 training and 8 validation images, 3 × 8 × 8, 2 classes" in text
    assert re.search(r"validation accuracy +100.00 % \(8 images\)", text)
    return folder


def test_run_folder(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert {"config.json", "data.json", "log.csv", "log.jsonl", "last", "best"} <= names
    config = json.loads((trained / "config.json").read_text())
    assert config["epochs"] == 3 and config["lr"] == 0.02 and config["weight_decay"] == 5e-4
    data = json.loads((trained / "data.json").read_text())
    assert data["classes"] == ["blue ones", "red"] and data["size"] == 8 and data["native"] is None


def test_eval(trained: Path, pictures: Path) -> None:
    text = ok("eval", "--checkpoint", trained)
    assert "accuracy  100.00 %" in text and "0 blue ones" in text
    for place in (trained / "last", trained / "best"):
        result = json.loads(ok("eval", "--checkpoint", place, "--json"))
        assert result["images"] == 8 and result["accuracy"] == 1.0
        assert result["confusion"] == [[4, 0], [0, 4]]
    # A folder of class folders is used whole.
    other = json.loads(ok("eval", "--checkpoint", trained, "--data", pictures / "train", "--json"))
    assert other["images"] == 24
    assert json.loads(ok("eval", "--checkpoint", trained, "--limit", 6, "--json"))["confusion"][1] != [0, 0]


def test_predict_sees_what_validation_saw(trained: Path, pictures: Path) -> None:
    from nnlab.train.runs import load_validation, open_run

    opened = open_run(trained, device="cpu")
    dataset = load_validation(opened.config, opened.preprocess)
    path = dataset.samples[5][0]
    with nnlab.no_grad():
        logits = opened.model(nnlab.from_numpy(dataset[5][0][None])).numpy().astype(np.float64)[0]
    expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    line = json.loads(ok("predict", "--checkpoint", trained, path, "--json"))
    assert line["image"] == path
    assert [entry["class"] for entry in line["top"]] == ["red", "blue ones"]
    assert line["top"][0]["probability"] == pytest.approx(expected[1], rel=1e-6)
    text = ok("predict", "--checkpoint", trained, path, pictures / "val" / "blue ones" / "0.png", "--top", 1)
    assert text.count("%") == 2 and "red" in text and "blue ones" in text


def test_resume_extends_and_refuses_changes(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    ok("train", "--data", pictures, *SMALL, "--epochs", 1, "--out", out)
    text = ok("train", "--resume", "--out", out, "--epochs", 2)
    assert "continuing in epoch 2 after batch 0 (step 3)" in text and "epoch 2/2" in text
    assert len((out / "log.csv").read_text().splitlines()) == 3
    line = fails("train", "--resume", "--out", out, "--lr", 1.0, "--seed", 4)
    assert "--seed 4 (the run has 0)" in line and "--lr 1.0 (the run has 0.02)" in line
    assert "holds something; --resume continues it" in fails("train", "--out", out)
    weights = out / "last" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-3])
    line = fails("train", "--resume", "--out", out)
    assert f"{weights} is damaged" in line and "--resume --previous" in line
    assert "epoch 2/2" in ok("train", "--resume", "--previous", "--out", out)
    (out / "data.json").write_text("{}")
    assert "data.json is damaged" in fails("eval", "--checkpoint", out)


def test_names_of_run_folders(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        ok("train", "--data", pictures, *SMALL, "--epochs", 1)
    name = f"{pictures.name}-vgg_small"
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [name, f"{name}-2"]
    assert f"run folder runs/{name}-2" in ok("train", "--resume", "--epochs", 2)
    ok("train", "--data", pictures, *SMALL, "--fast-dev-run")
    assert len(list((tmp_path / "runs").iterdir())) == 2  # a trial leaves nothing behind


def test_config_file_and_flags(pictures: Path, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(
        f'data = "{pictures}"\nmodel = "vgg_small"\nimage-size = 8\nbatch_size = 4\nepochs = 7\n'
        'augment = "flip,jitter,erase"\nschedule = "step"\nlabel_smoothing = 0.1\noptimizer = "adamw"\nlr = 0.001\n'
    )
    ok("train", "--config", file, "--epochs", 1, "--clip-norm", 1, "--accumulate", 2, "--out", tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["epochs"], config["batch_size"], config["optimizer"]) == (1, 4, "adamw")
    assert config["clip_norm"] == 1.0
    file.write_text("epoch = 7\n")
    assert "there is no setting 'epoch'; did you mean 'epochs'?" in fails("train", "--config", file)


def test_gray_pictures_and_other_schedules(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    for schedule in ("plateau", "none"):
        out = tmp_path / schedule
        ok("train", "--model", "lenet5", "--limit-train", 40, "--limit-val", 20, "--epochs", 1, "--schedule", schedule,
           "--optimizer", "adam", "--lr", 0.001, "--early-stopping", 1, "--overfit-batches", 1, "--batch-size", 8,
           "--out", out)  # fmt: skip
    assert json.loads((out / "data.json").read_text())["channels"] == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("train", "--model", "vgg17"), "unknown model 'vgg17'; did you mean"),
        (("train", "--data", "no/such/folder"), "'no/such/folder'"),
        (("train", "--lr", "-1"), "'lr' must be greater than 0.0, got -1.0"),
        (("train", "--augment", "spin"), "'augment' must be auto, none, or a list out of shift,"),
        (("train", "--model", "lenet5", "--dropout", "0.5"), "[lenet5] the model takes no argument 'dropout'"),
        (("train", "--previous"), "--previous goes with --resume"),
        (("train", "--resume", "--out", "nowhere"), "nowhere is not a run folder: it has no config.json"),
        (("eval", "--checkpoint", "nowhere"), "there is no run folder nowhere"),
        (("summary", "alexnett"), "unknown model 'alexnett'; did you mean alexnet"),
        (("train", "--device", "tpu"), "must be 'cpu', 'cuda', 'cuda:N' or 'emulated', got 'tpu'"),
    ],
)
def test_errors_are_one_line(
    args: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in fails(*args)
    assert list(tmp_path.iterdir()) == []


def test_bad_pictures(pictures: Path, trained: Path, tmp_path: Path) -> None:
    whole = (pictures / "val" / "red" / "0.png").read_bytes()
    for part in ("train", "val"):
        for name in ("red", "blue"):
            (tmp_path / "data" / part / name).mkdir(parents=True)
            (tmp_path / "data" / part / name / "a.png").write_bytes(whole)
    broken = tmp_path / "data" / "train" / "red" / "b.png"
    broken.write_bytes(whole[: len(whole) // 2])
    for workers in (0, 1):
        line = fails(
            "train", "--data", tmp_path / "data", *SMALL, "--workers", workers, "--out", tmp_path / f"r{workers}"
        )
        assert str(broken) in line
    assert str(broken) in fails("predict", "--checkpoint", trained, broken)
    assert "has ['blue', 'red']" in fails("eval", "--checkpoint", trained, "--data", tmp_path / "data")


def test_usage_errors_and_traceback(tmp_path: Path) -> None:
    result = run("train", "--lr", "much")
    assert result.exit_code == 2 and "--lr" in result.output
    result = run("train", "--model", "vgg17", "--traceback")
    assert result.exit_code == 1 and "Traceback" in result.stderr and "error: [models] unknown model" in result.stderr


def test_out_of_memory_is_explained(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise MemoryError("Unable to allocate 9.00 TiB")

    monkeypatch.setattr("nnlab.nn.Conv2d.forward", full)
    line = fails("train", "--data", pictures, *SMALL, "--out", tmp_path / "run")
    assert "out of memory: Unable to allocate 9.00 TiB (layer features.0); a smaller --batch-size" in line
    assert (tmp_path / "run" / "last" / "weights.safetensors").exists()


def test_summary() -> None:
    text = ok("summary", "alexnet")
    assert "61,100,840" in text and "714,188,480" in text and "64×55×55" in text and "233.1 MiB" in text
    assert "vgg16_bn" in ok("summary").split()
    assert "4×32×8×8" in ok("summary", "vgg_small", "--image-size", 8, "--batch-size", 4, "--num-classes", 10)


def test_version_and_help() -> None:
    assert ok("--version").strip() == f"nnlab {nnlab.__version__}"
    text = ok("train", "--help")
    assert "--warmup-epochs" in text and "Default: 30" in text and "cosine, step, plateau, none" in text
    for command in ("eval", "predict", "summary", "doctor"):
        assert "Usage" in ok(command, "--help")


def test_ctrl_c_in_a_terminal_process(pictures: Path, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(nnlab.__file__).parents[1])}
    command = [sys.executable, "-m", "nnlab.cli", "train", "--data", pictures, *SMALL, "--epochs", 500, "--out", "run"]
    with subprocess.Popen(
        [str(part) for part in command],
        cwd=tmp_path,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch   2/500"):
                process.send_signal(signal.SIGINT)
                break
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert errors == "stopped; saved in run/last; continue with: nnlab train --resume --out run\n"
