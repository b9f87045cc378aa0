"""``nnlab tune`` as people call it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from nnlab.bench import shapes
from nnlab.bench.conv import Conv2d
from nnlab.bench.dense import Linear
from nnlab.bench.pointwise import CrossEntropy
from nnlab.bench.timing import LEAST
from nnlab.cli.app import app
from nnlab.cuda import launch, tuned
from tests.cuda.common import EMULATED  # skips where there is no C++ compiler

assert str(EMULATED.device) == "emulated"


@pytest.fixture(autouse=True)
def _small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sets of small layers instead of AlexNet and VGG-16, and a table of this test's own."""
    layers = [Conv2d("a", "one", 2, 4, 8, 6, 3, padding=1), Linear("a", "fc", 2, 8, 4), CrossEntropy("a", "loss", 3, 9)]
    monkeypatch.setattr(shapes, "SETS", {"alexnet": lambda batch: layers, "vgg16": lambda batch: layers[1:2]})
    monkeypatch.setattr(tuned, "own_file", lambda device: tmp_path / "tuned" / tuned.file_name(device))
    tuned.forget()
    yield
    tuned.forget()


def call(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["tune", *arguments])
    assert done.exit_code == code, done.output
    return " ".join(done.output.split())


def test_from_the_command_to_the_table(tmp_path: Path) -> None:
    path = tmp_path / "findings.json"
    text = call("conv2d", "--device", "emulated", "--seconds", "0", "--json", str(path))
    assert "conv2d on emulated, float32: 1 problems" in text
    assert "say nothing about a GPU" in text
    for words in ("a one forward conv_forward 8x128x64x1 TILE_ROWS=64", "a one weight_grad conv_weight_grad"):
        assert words in text
    assert text.count("own choice") == 3 and text.count("taken") == 3 and text.count("1.00") >= 3
    table = tmp_path / "tuned" / "emulated.json"
    assert f"table: {table}" in text and f"findings: {path}" in text
    assert [entry.kernel for entry in tuned.load(table)] == ["conv_forward", "conv_input_grad", "conv_weight_grad"]
    findings = json.loads(path.read_text())
    assert [found["kernel"] for found in findings] == ["conv_forward", "conv_input_grad", "conv_weight_grad"]
    assert all(choice["count"] >= LEAST for found in findings for choice in found["choices"])
    before = table.read_bytes()
    text = call("conv2d", "--device", "emulated", "--seconds", "0")
    assert text.count("in the table already") == 3 and "table: " not in text
    assert table.read_bytes() == before


def test_two_kernels_of_a_pass() -> None:
    text = call("cross_entropy", "--device", "emulated", "--seconds", "0", "--dtype", "float64")
    assert "cross_entropy_forward 4x16x1 TEAM=32" in text and "cross_entropy_sum 1x4x1 TEAM=32" in text


def test_dry_run_and_list(tmp_path: Path) -> None:
    text = call("conv2d", "--device", "emulated", "--dry-run")
    assert text.count("TILE_ROWS=64, TILE_ROWS=16 to be measured") == 3
    assert not (tmp_path / "tuned").exists()
    assert "emulated.json" not in call("--list")
    call("conv2d", "--device", "emulated", "--seconds", "0")
    text = call("--list")
    assert "conv2d conv_forward TILE_ROWS in 64, 16" in text and "cross_entropy_sum TEAM in 32, 1, 256" in text
    assert "emulated.json: 3 entries" in text


@pytest.mark.parametrize(("height", "code"), [(64, 0), (16, 1)])
def test_a_wrong_variant_is_seen(monkeypatch: pytest.MonkeyPatch, height: int, code: int) -> None:
    """The body would take 16 rows here."""
    start = launch.run

    def run(be: Any, ready: launch.Launch) -> None:
        start(be, ready)
        if (ready.name, ready.macros["TILE_ROWS"]) == ("conv_forward", height):
            ready.arguments[3].flat[7] += 1

    monkeypatch.setattr(launch, "run", run)
    text = call("conv2d", "--device", "emulated", "--seconds", "0", code=code)
    assert text.count("wrong: error") == 1 and text.count("taken") == 3
    assert ("1 times the body's own choice is wrong or fails" in text) == bool(code)


def test_entries_for_other_sources_are_mentioned(monkeypatch: pytest.MonkeyPatch) -> None:
    call("conv2d", "--device", "emulated", "--seconds", "0")
    monkeypatch.setattr(tuned, "digest", cache(lambda unit: "another"))
    text = call("conv2d", "--device", "emulated", "--dry-run")
    assert "3 entries of the table are for other kernel sources and are not used" in text


def test_wrong_arguments_are_named() -> None:
    must = "'OP' must be of conv2d, conv_transpose2d, cross_entropy"
    assert must in call("conv9d", "--device", "emulated", code=1)
    assert must in call(code=1)
    assert must in call("linear", "--device", "emulated", code=1)
    assert "'device' must be one that runs kernels (cuda, emulated), got 'cpu'" in call(
        "conv2d", "--device", "cpu", code=1
    )
    assert "'shapes' must name a set that has conv2d, got 'vgg16'" in call(
        "conv2d", "--device", "emulated", "--shapes", "vgg16", code=1
    )
    assert "'shapes' must be of alexnet" in call("conv2d", "--device", "emulated", "--shapes", "alexnat", code=1)
    assert "must be a floating dtype" in call("conv2d", "--device", "emulated", "--dtype", "int32", code=1)
