"""nnlab: neural networks on NumPy and hand-written CUDA kernels.

The names here are PyTorch's. Sub-packages (``nnlab.nn``, ``nnlab.optim``, ...) load when they are first used; importing
nnlab touches no GPU.
"""

from __future__ import annotations

import importlib
from typing import Any

from nnlab import types
from nnlab.autograd import Function, Size, Tensor, enable_grad, grad, is_grad_enabled, no_grad, set_grad_enabled
from nnlab.autograd.amp import autocast, is_autocast_enabled
from nnlab.autograd.creation import (
    arange,
    as_tensor,
    empty,
    eye,
    from_dlpack,
    from_numpy,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    rand,
    randint,
    randn,
    randperm,
    tensor,
    zeros,
    zeros_like,
)
from nnlab.autograd.elementwise import add, clamp, div, maximum, minimum, mul, pow, sub, where
from nnlab.autograd.index import gather, index_select
from nnlab.autograd.matmul import matmul
from nnlab.autograd.pointwise import erf
from nnlab.autograd.reduce import (
    all,
    amax,
    amin,
    any,
    argmax,
    argmin,
    argsort,
    cumsum,
    logsumexp,
    max,
    mean,
    min,
    norm,
    prod,
    sort,
    std,
    sum,
    topk,
    var,
)
from nnlab.autograd.shape import (
    cat,
    chunk,
    flatten,
    flip,
    movedim,
    permute,
    reshape,
    roll,
    split,
    squeeze,
    stack,
    transpose,
    unbind,
    unsqueeze,
)
from nnlab.autograd.unary import abs, cos, exp, isfinite, isinf, isnan, log, log1p, sigmoid, sign, sin, sqrt, tanh
from nnlab.backend import Device as device
from nnlab.backend.threads import get_num_threads, set_num_threads
from nnlab.precision import (
    get_float32_conv_precision,
    get_float32_matmul_precision,
    set_float32_conv_precision,
    set_float32_matmul_precision,
)
from nnlab.random import Generator, default_generator, manual_seed
from nnlab.types import bool_, float16, float32, float64, int8, int16, int32, int64, uint8

__version__ = "0.1.0"

__all__ = [
    "Function",
    "Generator",
    "Size",
    "Tensor",
    "__version__",
    "abs",
    "add",
    "all",
    "amax",
    "amin",
    "any",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "as_tensor",
    "autocast",
    "bool_",
    "cat",
    "chunk",
    "clamp",
    "cos",
    "cumsum",
    "default_generator",
    "device",
    "div",
    "empty",
    "enable_grad",
    "erf",
    "exp",
    "eye",
    "flatten",
    "flip",
    "float16",
    "float32",
    "float64",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "gather",
    "get_float32_conv_precision",
    "get_float32_matmul_precision",
    "get_num_threads",
    "grad",
    "index_select",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_autocast_enabled",
    "is_grad_enabled",
    "isfinite",
    "isinf",
    "isnan",
    "linspace",
    "log",
    "log1p",
    "logsumexp",
    "manual_seed",
    "matmul",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "movedim",
    "mul",
    "no_grad",
    "norm",
    "ones",
    "ones_like",
    "permute",
    "pow",
    "prod",
    "rand",
    "randint",
    "randn",
    "randperm",
    "reshape",
    "roll",
    "set_float32_conv_precision",
    "set_float32_matmul_precision",
    "set_grad_enabled",
    "set_num_threads",
    "sigmoid",
    "sign",
    "sin",
    "sort",
    "split",
    "sqrt",
    "squeeze",
    "stack",
    "std",
    "sub",
    "sum",
    "tanh",
    "tensor",
    "topk",
    "transpose",
    "uint8",
    "unbind",
    "unsqueeze",
    "var",
    "where",
    "zeros",
    "zeros_like",
]

_SUBPACKAGES = (
    "amp",
    "autograd",
    "backend",
    "classic",
    "cuda",
    "data",
    "models",
    "nn",
    "optim",
    "testing",
    "text",
    "train",
)


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"nnlab.{name}")
    if name == "bfloat16":  # needs the package ml_dtypes
        return types.bfloat16
    raise AttributeError(f"module 'nnlab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_SUBPACKAGES, "bfloat16"])
