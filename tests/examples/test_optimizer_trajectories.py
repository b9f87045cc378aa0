"""The example of optimizers on a canyon and a saddle runs, and its own assertions hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.conftest import Run


def test_it_runs(example: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("optimizer_trajectories")["main"](["--out", str(tmp_path / "run")])
    steps = json.loads((tmp_path / "run" / "numbers.json").read_text())
    assert steps["Canyon"]["Newton"] == 1
    assert steps["Saddle"]["gradient descent"] == 81
    assert steps["Saddle"].keys() == steps["Canyon"].keys()
    assert (tmp_path / "run" / "trajectories.png").read_bytes().startswith(b"\x89PNG")
    assert f"gradient descent{steps['Canyon']['gradient descent']:>14} steps" in capsys.readouterr().out


def test_its_assertions_can_fail(example: Run) -> None:
    """A rate that is off by a tenth is noticed."""
    names = example("optimizer_trajectories")
    optim, walk, check = names["optim"], names["walk"], names["check"]
    surfaces = {s.title: s for s in (names["CANYON"], names["SADDLE"])}
    makers = {name: make for family in names["FAMILIES"].values() for name, make in family.items()}
    walks = {title: {name: walk(make, s) for name, make in makers.items()} for title, s in surfaces.items()}
    steps = {
        "Canyon": {name: names["steps_to_the_bottom"](points) for name, points in walks["Canyon"].items()},
        "Saddle": {name: names["steps_off_the_saddle"](points) for name, points in walks["Saddle"].items()},
    }
    check(walks, steps)
    walks["Canyon"]["gradient descent"] = walk(lambda p: optim.SGD(p, lr=0.0405), surfaces["Canyon"])
    with pytest.raises(AssertionError):
        check(walks, steps)
