"""The code of the GPU's tests, run without a GPU on arrays as strict as CuPy's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnlab.backend
import nnlab.ops
from nnlab.cuda import tuned
from tests import emulator
from tests.cuda import case
from tests.cuda import test_gpu_agreement as agreement
from tests.cuda import test_gpu_operations as operations
from tests.cuda import test_gpu_tune as tuning
from tests.strict_device import StrictArray, StrictBackend

EMULATED = emulator.backend()


class StandIn(StrictBackend):
    """Arrays that are no NumPy arrays; kernels run on the CPU."""

    arch = "host"
    tensor_cores = True
    shared_memory = EMULATED.shared_memory

    def name(self) -> str:
        return "Stand-in"

    def versions(self) -> dict[str, str]:
        return {}

    def elapsed(self, call: Callable[[], Any]) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    def run_kernel(self, library: Path, name: str, grid: Any, block: Any, arguments: Any, *options: Any) -> None:
        unwrapped = [a._a if isinstance(a, StrictArray) else a for a in arguments]
        EMULATED.run_kernel(library, name, grid, block, unwrapped, *options)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    backend, real = StandIn(), nnlab.backend._backend
    monkeypatch.setattr(nnlab.backend, "_backend", lambda kind, i: backend if kind == "cuda" else real(kind, i))
    return backend


@pytest.mark.parametrize("problem", [p for p in case.problems() if p[2:4] == ("float32", 32)], ids=case.problem_id)
def test_cases(problem: tuple[Any, ...]) -> None:
    assert case.run(StandIn(), *problem, orders=(None,))


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("layer", operations.LAYERS, ids=lambda layer: layer[0])
def test_layers(layer: tuple[Any, ...]) -> None:
    operations.test_layers(layer, "float32")


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("lengths", [None, [7, 2, 5]])
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_recurrent_layers(name: str, lengths: list[int] | None) -> None:
    operations.test_recurrent_layers(name, "float32", lengths)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("name", agreement.LAYERS)
def test_agreement(name: str) -> None:
    noted: dict[str, Any] = {}
    agreement.test_layer(name, noted.__setitem__)
    found = noted["agreement"][name]
    assert list(found["kernels"]) == agreement.UNITS[name]
    assert not any(str(figure).startswith("failed") for figure in found["figures"].values())


@pytest.mark.usefixtures("stand_in")
def test_tuning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuned, "own_file", lambda device: tmp_path / tuned.file_name(device))
    tuned.forget()
    tuning.test_every_variant("float32")
    assert [path.name for path in tmp_path.iterdir()] == ["stand-in.json"]
    tuning.test_launches_go_by_the_table()
    tuned.forget()


@pytest.mark.usefixtures("stand_in")
def test_networks() -> None:
    operations.test_training_follows_the_cpu()
    assert abs(operations._alexnet(1, images=2)[0] - np.log(10)) < 0.05


def test_a_bare_machine_has_what_the_gpus_tests_import(root: Path) -> None:
    """Everything but NumPy, pytest and CuPy is taken away."""
    names = [
        "hypothesis",
        "ml_dtypes",
        "safetensors",
        "rich",
        "typer",
        "sklearn",
        "tensorboardX",
        "matplotlib",
        "PIL",
        "torch",
        "xdist",
        "execnet",
    ]
    take_away = f"import sys; sys.modules.update(dict.fromkeys({names}))"
    collect = "import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    files = sorted(map(str, (root / "tests" / "cuda").glob("test_gpu*.py")))
    options = ["--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest"]
    command = [sys.executable, "-c", f"{take_away}; {collect}", *options, *files]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PATH": "/nowhere"}
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout
    assert "test_gpu_cases.py" in done.stdout


def test_without_a_gpu_the_command_fails_and_says_why(tmp_path: Path, root: Path) -> None:
    from nnlab.backend import cuda

    reason = cuda.why_unusable()
    if reason is None:
        pytest.skip("there is a GPU: make gpu-test")
    command = [
        sys.executable,
        "-m",
        "tools.gpu_test",
        "--out",
        str(tmp_path),
        "--",
        "-k",
        "test_case and relu-both_passes-float32 and not bias_relu",
    ]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    assert f"no GPU: {reason}" in done.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert set(report["counts"]) == {"failed"}
    assert all(f"no GPU is usable: {reason}" in test["reason"] for test in report["tests"].values())
