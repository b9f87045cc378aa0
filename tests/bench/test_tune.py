"""Tuning: what is tried, what is refused, what is taken, what is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnlab.bench import shapes, timing, tune
from nnlab.bench.conv import Conv2d
from nnlab.bench.timing import Timing
from nnlab.cuda import launch, tuned
from nnlab.cuda.launch import Launch
from nnlab.errors import DeviceError
from tests.cuda.common import EMULATED

SMALL = Conv2d("net", "one", 2, 4, 8, 6, 3, padding=1)
PASSES = ["forward", "input_grad", "weight_grad"]


@pytest.fixture(autouse=True)
def _own_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tuned, "own_file", lambda device: tmp_path / tuned.file_name(device))
    tuned.forget()
    yield
    tuned.forget()


def sweep(*problems: Conv2d, dtype: str = "float32", **options: Any) -> list[tune.Finding]:
    results = tune.Results(EMULATED)
    findings = list(tune.sweep(EMULATED, problems or (SMALL,), dtype, 0.0, results.known, **options))
    for finding in findings:
        if finding.choices:
            results.add(finding)
    return findings


def only(found: list[tune.Finding], part: str) -> dict[int, tune.Choice]:
    """The choices of a pass by the height of the tile."""
    return {
        choice.macros["TILE_ROWS"]: choice for finding in found if finding.part == part for choice in finding.choices
    }


def patch_run(monkeypatch: pytest.MonkeyPatch, change: Callable[[Launch], None]) -> None:
    start = launch.run

    def run(be: Any, ready: Launch) -> None:
        start(be, ready)
        change(ready)

    monkeypatch.setattr(launch, "run", run)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_every_choice_of_every_pass(dtype: str) -> None:
    found = sweep(dtype=dtype)
    assert [finding.part for finding in found] == PASSES
    assert [finding.kernel.name for finding in found] == [f"conv_{part}" for part in PASSES]
    assert found[0].key == ("conv_forward", dtype, (8, 128, 64, 1))
    for part in PASSES:
        choices = only(found, part)
        assert list(choices) == [64, 16]
        for choice in choices.values():
            assert choice.why == "" and choice.error is not None and choice.timing is not None
            assert choice.timing.count >= timing.LEAST
    assert {finding.preferred["TILE_ROWS"] for finding in found} == {16}


def test_each_choice_is_what_is_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, Any]] = []
    patch_run(monkeypatch, lambda ready: seen.append((ready.name, ready.macros["TILE_ROWS"])))
    sweep()
    counts = {each: seen.count(each) for each in set(seen)}
    # Compared once, warm-ups, repetitions; the body's own once more, to see what the pass launches.
    times = 1 + timing.WARM_UP + timing.LEAST
    assert counts["conv_forward", 64] == times and counts["conv_forward", 16] == times + 1


def test_a_choice_that_is_wrong_is_never_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(ready: Launch) -> None:
        if (ready.name, ready.macros["TILE_ROWS"]) == ("conv_forward", 16):
            ready.arguments[3].flat[7] += 1e-3

    patch_run(monkeypatch, spoil)
    choices = only(sweep(), "forward")
    assert choices[64].why == "" and choices[64].timing is not None
    assert choices[16].timing is None and choices[16].why.startswith("wrong: error ")
    assert choices[16].error is not None and 1e-4 < choices[16].error < 1e-3
    entry = tune.Results(EMULATED).known["conv_forward", "float32", (8, 128, 64, 1)]
    assert entry.macros == {"TILE_ROWS": 64}  # although the body would take 16
    assert [choice["seconds"] is None for choice in entry.measured[0]["choices"]] == [False, True]


def test_nan_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(ready: Launch) -> None:
        if (ready.name, ready.macros["TILE_ROWS"]) == ("conv_input_grad", 64):
            ready.arguments[3].flat[7] = np.nan

    patch_run(monkeypatch, spoil)
    choices = only(sweep(), "input_grad")
    assert choices[64].why.startswith("wrong: error nan") and choices[16].why == ""
    assert choices[64].as_json()["error"] is None


def test_a_choice_that_fails_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(ready: Launch) -> None:
        if (ready.name, ready.macros["TILE_ROWS"]) == ("conv_forward", 64):
            raise DeviceError("[nvrtc] conv.cu does not compile")

    patch_run(monkeypatch, fail)
    choices = only(sweep(), "forward")
    assert choices[64].why == "DeviceError: [nvrtc] conv.cu does not compile" and choices[64].error is None
    assert choices[16].timing is not None


def test_the_bodys_own_choice_may_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(ready: Launch) -> None:
        if (ready.name, ready.macros["TILE_ROWS"]) == ("conv_forward", 16):
            raise DeviceError("[nvrtc] conv.cu does not compile")

    patch_run(monkeypatch, fail)
    choices = only(sweep(), "forward")
    assert choices[16].why and choices[64].timing is not None
    assert tune.Results(EMULATED).known["conv_forward", "float32", (8, 128, 64, 1)].macros == {"TILE_ROWS": 64}


def test_a_device_that_runs_nothing_any_more_ends_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    broken: list[bool] = []

    def fail(ready: Launch) -> None:
        if broken or (ready.name, ready.macros["TILE_ROWS"]) == ("conv_forward", 64):
            broken.append(True)
            raise RuntimeError("illegal address")

    patch_run(monkeypatch, fail)
    with pytest.raises(DeviceError, match=r"after TILE_ROWS=64 failed .*illegal address.* does not run any more"):
        sweep()
    assert tune.Results(EMULATED).known == {}


def test_what_is_known_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sweep()
    again = sweep()
    assert [finding.known for finding in again] == [True] * 3 and not any(finding.choices for finding in again)
    other = replace(SMALL, layer="two", out_channels=7)  # of the same class
    assert [finding.known for finding in sweep(SMALL, other)] == [True] * 3 + [False] * 3
    known = tune.Results(EMULATED).known
    assert [one["layer"] for one in known["conv_forward", "float32", (8, 128, 64, 1)].measured] == ["one", "two"]
    monkeypatch.setattr(tuned, "digest", cache(lambda unit: "another"))
    assert tune.Results(EMULATED).known == {} and tune.Results(EMULATED).stale == 4
    assert not any(finding.known for finding in sweep())
    assert tune.Results(EMULATED).stale == 1


def test_a_new_variant_is_measured() -> None:
    finding = sweep()[0]
    record = finding.as_json()
    assert finding.measured_as(record)
    assert not finding.measured_as({**record, "choices": record["choices"][:1]})


def test_dry_runs_measure_nothing() -> None:
    found = sweep(dry=True)
    assert [finding.part for finding in found] == PASSES and not any(finding.choices for finding in found)
    assert not tuned.own_file("emulated").exists()


def test_launches_go_by_what_was_found() -> None:
    """From the file to the gate."""
    finding = replace(sweep()[0], choices=())
    for height in (64, 16):
        fast, slow = Timing.of([1.0] * 5), Timing.of([2.0] * 5)
        choices = [tune.Choice({"TILE_ROWS": n}, 0.0, fast if n == height else slow) for n in (64, 16)]
        tune.Results(EMULATED).add(replace(finding, choices=tuple(choices)))
        tuned.forget()
        kernel = finding.kernel
        assert launch.choose(kernel, EMULATED, np.dtype("float32"), (5, 100, 40, 1), TILE_ROWS=16) == {
            "TILE_ROWS": height
        }


def record(preferred: int, *, noise: float = 0.0, **times: float | None) -> dict[str, Any]:
    """A problem with times of T32, T16 and so on; None for a wrong one."""
    choices = [{"macros": {"T": int(name[1:])}, "seconds": time, "noise": noise} for name, time in times.items()]
    return {"preferred": {"T": preferred}, "choices": choices}


@pytest.mark.parametrize(
    ("records", "taken"),
    [
        ([record(32, T32=1.0, T16=0.5)], {"T": 16}),
        ([record(32, T32=1.0, T16=0.98)], {}),  # as good as
        ([record(32, T32=1.0, T16=0.95)], {"T": 16}),
        ([record(32, T32=1.0, T16=0.95, noise=0.05)], {}),  # 4 standard errors are 28 %
        ([record(32, T32=1.0, T16=0.75, noise=0.05)], {"T": 16}),
        ([record(16, T32=1.0, T16=0.5)], {}),
        ([record(32, T32=None, T16=0.5)], {"T": 16}),
        ([record(16, T32=0.5, T16=None)], {"T": 32}),
        ([record(16, T32=None, T16=None)], {}),
        ([record(32, T32=1.0, T16=0.5), record(32, T32=1.0, T16=None)], {}),  # wrong once
        ([record(32, T32=1.0, T16=0.5), record(32, T32=10.0, T16=18.0)], {"T": 16}),  # the mean of ratios, not of times
        ([record(32, T32=1.0, T16=0.5), record(32, T32=10.0, T16=21.0)], {}),
        ([record(32, T32=1.0, T16=0.9, T8=0.1), record(32, T32=1.0, T16=0.9)], {"T": 16}),  # 8 was not tried everywhere
    ],
)
def test_what_is_taken(records: list[dict[str, Any]], taken: dict[str, int]) -> None:
    assert tune.pick(records) == taken


def test_operations_are_those_of_problems_whose_kernels_have_variants() -> None:
    assert {"conv2d", "conv_transpose2d", "cross_entropy"} <= set(tune.operations())
    known = {problem.op for make in shapes.SETS.values() for problem in make(1)}
    assert set(tune.operations()) <= known
    assert tune.kernels("no_such_operation") == []
