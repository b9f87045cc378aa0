"""On a real GPU: every variant of small layers is right and timed, and launches go by the table. Skipped elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nnlab.backend import get_backend
from nnlab.bench import tune
from nnlab.bench.conv import Conv2d
from nnlab.bench.pointwise import CrossEntropy
from nnlab.bench.problem import Problem
from nnlab.cuda import launch, tuned

pytestmark = pytest.mark.gpu

DEVICE = "cuda"
SMALL: list[Problem] = [Conv2d("test", "conv", 4, 24, 40, 15, 3, padding=1), CrossEntropy("test", "loss", 33, 100)]


@pytest.fixture(autouse=True)
def _own_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tuned, "own_file", lambda device: tmp_path / tuned.file_name(device))
    tuned.forget()
    yield
    tuned.forget()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_every_variant(dtype: str) -> None:
    be = get_backend(DEVICE)
    results = tune.Results(be)
    findings = list(tune.sweep(be, SMALL, dtype, 0.0, results.known))
    found = [finding.kernel.name for finding in findings]
    conv = [f"{'conv_mma' if be.tensor_cores else 'conv'}_{part}" for part in ("forward", "input_grad", "weight_grad")]
    if be.tensor_cores and dtype == "float32":
        conv = []  # its kernels offer no choice
    assert found == [*conv, "cross_entropy_forward", "cross_entropy_sum"]
    for finding in findings:
        assert [choice.why for choice in finding.choices] == [""] * len(finding.every)
        assert all(choice.timing is not None and choice.timing.median > 0 for choice in finding.choices)
        results.add(finding)
    assert all(finding.known for finding in tune.sweep(be, SMALL, dtype, 0.0, tune.Results(be).known))


def test_launches_go_by_the_table() -> None:
    be = get_backend(DEVICE)
    kernel = tune.kernels("conv2d")[0]
    name = tuned.device_name(be)
    for height in (16, 64):
        entry = tuned.Entry("conv", kernel.name, "float32", (64, 64), {"TILE_ROWS": height}, tuned.digest("conv"))
        tuned.save(tuned.own_file(name), name, [entry])
        tuned.forget()
        assert launch.choose(kernel, be, np.dtype(np.float32), (60, 33)) == {"TILE_ROWS": height}
