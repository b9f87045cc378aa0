"""The bench with each library in a process of its own."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from nnlab.backend import get_backend
from nnlab.bench import measure
from nnlab.bench.dense import Linear
from nnlab.bench.separate import Worker, rows
from nnlab.errors import NNLabError


class Failing(Linear):
    """Its forward pass ends in an error, its gradient ends the process."""

    def ours(self, be: Any, part: str, arrays: Any) -> Any:
        def end() -> None:
            os._exit(3) if part == "input_grad" else np.linalg.inv(np.zeros((2, 2)))

        return end


@pytest.mark.torch
def test_rows_are_those_of_one_process() -> None:
    problem = Linear("test", "fc", 3, 5, 7)
    pytest.importorskip("torch")
    found = list(rows([problem], "float32", True, 0.0))
    alone = list(measure.rows(get_backend("cpu"), [problem], "float32", None, 0.0))
    assert [row.part for row in found] == ["forward", "input_grad", "weight_grad"]
    for row, other in zip(found, alone, strict=True):
        assert row.key == other.key and row.ours.error == other.ours.error
        assert list(row.peers) == ["torch"] and row.peers["torch"].timing.count == 3
        assert row.ours.error is not None and 0 < row.ours.error < 1e-5


def test_an_error_of_the_other_process_is_told() -> None:
    worker = Worker("nnlab")
    try:
        with pytest.raises(NNLabError, match=r"\[bench\] nnlab failed in its own process: LinAlgError: Singular"):
            worker.prepare(0, Failing("test", "fc", 3, 5, 7), "forward", "float32")
        with pytest.raises(NNLabError, match=r"\[bench\] the process of nnlab ended \(exit code 3\)"):
            worker.prepare(0, Failing("test", "fc", 3, 5, 7), "input_grad", "float32")
    finally:
        worker.stop()
