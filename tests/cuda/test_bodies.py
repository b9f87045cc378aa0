"""The modules of ``nnlab/ops/_cuda`` stand for the whole contract."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest

from nnlab.cuda import sources
from nnlab.ops import CUDA_KERNELS, FURTHER_KERNELS


def test_the_support_table_lists_every_kernel_file() -> None:
    assert set(sources.units()) == CUDA_KERNELS | set(FURTHER_KERNELS)
    assert set(FURTHER_KERNELS.values()) <= CUDA_KERNELS


@pytest.mark.parametrize("op", sorted(CUDA_KERNELS))
def test_every_entry_point_with_the_contracts_arguments(op: str) -> None:
    contract, kernels = (import_module(f"nnlab.ops.{package}{op}") for package in ("", "_cuda."))
    entries = {
        name: function
        for name, function in inspect.getmembers(contract, inspect.isfunction)
        if function.__module__ == contract.__name__ and "be" in inspect.signature(function).parameters
    }
    assert entries
    for name, function in entries.items():
        assert inspect.signature(getattr(kernels, name)) == inspect.signature(function), name
