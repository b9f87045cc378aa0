"""Operations over raw arrays of one device: contracts in ``ops/<op>.py``, bodies in ``_numpy`` and ``_cuda``."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType

from nnlab.backend import Backend

# Operations that have hand-written kernels; all others run as array code.
CUDA_KERNELS = frozenset(
    {
        "adam",
        "adaptive_max_pool",
        "avg_pool",
        "bias_relu",
        "conv",
        "conv_relu",
        "conv_relu_max_pool",
        "cross_entropy",
        "dropout",
        "embedding",
        "gru_cell",
        "local_response_norm",
        "lstm_cell",
        "max_pool",
        "relu",
        "rnn_cell",
        "sgd",
        "softmax",
    }
)

# Kernel files that serve an operation beside its own.
FURTHER_KERNELS = {"conv_fold": "conv", "conv_mma": "conv", "conv_mma_precise": "conv"}


@cache
def _load(package: str, name: str) -> ModuleType:
    return import_module(f"nnlab.ops.{package}.{name}")


def has_kernels(be: Backend, name: str) -> bool:
    """Whether operation ``name`` is computed by kernels on this device."""
    return be.device.type != "cpu" and name in CUDA_KERNELS


def body(be: Backend, name: str) -> ModuleType:
    """The module that computes operation ``name`` on this device: ``_cuda`` if the table lists it, else ``_numpy``."""
    return _load("_cuda" if has_kernels(be, name) else "_numpy", name)
