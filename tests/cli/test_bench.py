"""``nnlab bench`` as people call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nnlab.bench import record, shapes
from nnlab.bench.dense import Linear
from nnlab.bench.pool import MaxPool2d
from nnlab.cli.app import app


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A set of two small layers instead of AlexNet."""
    monkeypatch.setitem(
        shapes.SETS,
        "alexnet",
        lambda batch: [Linear("a", "fc", batch, 8, 4), MaxPool2d("a", "pool", batch, 1, 4, 2, 2)],
    )
    monkeypatch.setattr("nnlab.bench.ceilings.COPY", 1 << 16)
    monkeypatch.setattr("nnlab.bench.ceilings.SIDE", 32)


def call(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["bench", *arguments])
    assert done.exit_code == code, done.output
    return " ".join(done.output.split())


def test_table_record_and_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="draws pictures")
    path = tmp_path / "record.json"
    options = ["--shapes", "alexnet", "--batch", "3", "--vs", "none", "--seconds", "0", "--device", "cpu"]
    text = call(*options, "--json", str(path), "--pictures", str(tmp_path / "pictures"))
    for part in (
        "linear a fc forward",
        "linear a fc weight_grad",
        "max_pool2d a pool backward",
        "GB/s copy",
        "of roof",
    ):
        assert part in text
    assert "PyTorch" not in text
    rows = record.load(path).rows
    assert [row.part for row in rows] == ["forward", "input_grad", "weight_grad", "forward", "backward"]
    assert (tmp_path / "pictures" / "roofline.png").read_bytes().startswith(b"\x89PNG")
    only = call("max_pool2d", *options)
    assert "max_pool2d a pool forward" in only and "linear" not in only


def test_shares_cover_everything_once(tmp_path: Path) -> None:
    found = []
    for part in ("1/2", "2/2"):
        path = tmp_path / f"{part[0]}.json"
        call(
            "--shapes",
            "alexnet",
            "--vs",
            "none",
            "--seconds",
            "0",
            "--part",
            part,
            "--json",
            str(path),
            "--device",
            "cpu",
        )
        found += [row.op for row in record.load(path).rows]
    assert found == ["linear"] * 3 + ["max_pool2d"] * 2


def test_a_row_that_became_slower_is_the_exit_code(tmp_path: Path) -> None:
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    call("linear", "--shapes", "alexnet", "--vs", "none", "--seconds", "0.01", "--json", str(a), "--device", "cpu")
    text = a.read_text()
    changed = json.loads(text)
    for row in changed["rows"]:
        row["ours"] |= {"spread": 0.01, "rounds": [row["ours"]["median"]] * 2}
    a.write_text(json.dumps(changed))
    assert "3 rows: 0 slower, 0 faster" in call("--compare", str(a), str(a))
    changed["rows"][1]["ours"]["median"] *= 1.5
    b.write_text(json.dumps(changed))
    text = call("--compare", str(a), str(b), code=1)
    assert "slower linear a fc input_grad: 1.50 times the time" in text and "1 slower, 0 faster" in text
    assert "faster linear a fc input_grad: 0.67 times the time" in call("--compare", str(b), str(a))


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    assert "'shapes' must be of alexnet" in call("--shapes", "alexnat", code=1)
    assert "'OP' must be of linear, max_pool2d for --shapes alexnet, got 'conv9d'" in call(
        "conv9d", "--shapes", "alexnet", code=1
    )
    assert "'part' must be I/N" in call("--part", "4/3", code=1)
    assert "'vs' must be auto, torch or none" in call("--vs", "jax", code=1)
    assert "must be a floating dtype" in call("--dtype", "int32", code=1)
    assert "no.json does not exist" in call("--compare", str(tmp_path / "no.json"), str(tmp_path / "no.json"), code=1)


@pytest.mark.torch
def test_peers_alone_and_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"
    options = ["--shapes", "alexnet", "--batch", "3", "--seconds", "0", "--device", "cpu", "--json", str(path)]
    assert "--peers-only needs a peer" in call(*options, "--vs", "none", "--peers-only", code=1)

    def fails(*_: object) -> object:
        raise RuntimeError("it broke")

    monkeypatch.setattr(MaxPool2d, "ours", fails)
    text = call(*options, "--vs", "none", code=1)
    assert "a pool forward failed" in text and "nnlab: RuntimeError: it broke" in text
    assert [row.failed for row in record.load(path).rows] == [False, False, False, True, True]
    pytest.importorskip("torch")
    call(*options, "--peers-only")
    assert all(row.ours is None and list(row.peers) == ["torch"] for row in record.load(path).rows)
    assert "--separate goes with neither" in call(*options, "--peers-only", "--separate", code=1)


def test_parts_become_one_record(tmp_path: Path) -> None:
    options = ["--shapes", "alexnet", "--batch", "3", "--vs", "none", "--seconds", "0", "--device", "cpu"]
    files = [tmp_path / f"{part}.json" for part in (1, 2)]
    for part, file in enumerate(files, start=1):
        call(*options, "--part", f"{part}/2", "--json", str(file))
    both = ["--merge", str(files[0]), "--merge", str(files[1])]
    assert "--merge needs --json" in call(*both, code=1)
    assert "5 rows" in call(*both, "--json", str(tmp_path / "all.json"))
    assert len(record.load(tmp_path / "all.json").rows) == 5
