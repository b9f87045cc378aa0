"""cuBLAS called directly, for steps that are recorded as a CUDA graph.

CuPy refuses to call cuBLAS while a stream is captured, and each of its calls sets the stream anew, which gives up a
workspace that was set before. Here a handle of our own keeps its stream and a fixed workspace; calls and arguments are
those that CuPy makes outside of a graph.
"""

from __future__ import annotations

import ctypes
from math import prod
from typing import Any

import numpy as np

from nnlab.errors import DeviceError

WORKSPACE = {True: 32 << 20, False: 4 << 20}  # bytes, cuBLAS's own choice from compute capability 9.0 on, and before
TF32_TENSOR_OP_MATH, DEFAULT_MATH = 3, 0  # cublasMath_t
_R_32F, _R_64F, _R_16F, _R_16BF = 0, 1, 2, 14  # cudaDataType_t
_COMPUTE_32F, _COMPUTE_64F = 68, 70  # cublasComputeType_t
_DEFAULT, _DEFAULT_TENSOR_OP = -1, 99  # cublasGemmAlgo_t
_TYPES = {"float16": _R_16F, "bfloat16": _R_16BF, "float32": _R_32F, "float64": _R_64F}


def load(cuda: int) -> ctypes.CDLL:
    """The library of a CUDA version (13), which CuPy has loaded."""
    errors = []
    for name in (f"libcublas.so.{cuda}", f"cublas64_{cuda}.dll"):
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            errors.append(str(error))
    raise DeviceError(f"[cublas] the library cannot be loaded ({'; '.join(errors)})")


class Cublas:
    """A handle with a stream and a workspace of its own.

    Args:
        library: cuBLAS.
        tensor_cores: whether the card's heuristics are those of tensor cores (compute capability 8.0 and above).
    """

    def __init__(self, library: Any, tensor_cores: bool) -> None:
        self._library = library
        self._algorithm = _DEFAULT_TENSOR_OP if tensor_cores else _DEFAULT
        self._handle = ctypes.c_void_p()
        self._check("cublasCreate_v2", library.cublasCreate_v2(ctypes.byref(self._handle)))

    def _check(self, name: str, status: int) -> None:
        if status:
            raise DeviceError(f"[cublas] {name} failed with status {status}")

    def _call(self, name: str, *arguments: Any) -> None:
        self._check(name, getattr(self._library, name)(self._handle, *arguments))

    def use(self, stream: int, workspace: int, size: int) -> None:
        """Work on a stream, in this memory."""
        self._call("cublasSetStream_v2", ctypes.c_void_p(stream))  # which forgets the workspace
        self._call("cublasSetWorkspace_v2", ctypes.c_void_p(workspace), ctypes.c_size_t(size))

    def set_tf32(self, allowed: bool) -> None:
        """Whether float32 products may be rounded to TF32."""
        self._call("cublasSetMathMode", ctypes.c_int(TF32_TENSOR_OP_MATH if allowed else DEFAULT_MATH))

    def matmul(self, xp: Any, a: Any, b: Any, out: Any = None) -> Any:
        """``xp.matmul`` of CuPy's arrays; what CuPy computes without cuBLAS, it computes here too."""
        rows, columns = (a.shape[-2], b.shape[-1]) if min(a.ndim, b.ndim) > 1 else (1, 1)
        mine = a.dtype == b.dtype and a.dtype.name in _TYPES and a.size and b.size and (rows > 1 or columns > 1)
        if not mine:
            return xp.matmul(a, b) if out is None else xp.matmul(a, b, out=out)
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        direct = out is not None and out.flags.c_contiguous and out.dtype == a.dtype
        result = out if direct else xp.empty((*lead, rows, columns), a.dtype)
        self._gemm(xp, a, b, result, prod(lead), lead)
        if out is None or direct:
            return result
        out[...] = result
        return out

    def _gemm(self, xp: Any, a: Any, b: Any, c: Any, batch: int, lead: tuple[int, ...]) -> None:
        # cuBLAS takes a row-major matrix for its transpose: c.T = b.T @ a.T.
        (rows, depth), columns = a.shape[-2:], b.shape[-1]
        kind = ctypes.c_int(_TYPES[a.dtype.name])
        double = a.dtype == np.float64
        number = ctypes.c_double if double else ctypes.c_float
        one, zero = number(1), number(0)
        size = [ctypes.c_int(n) for n in (columns, rows, depth)]
        how = ctypes.c_int(_COMPUTE_64F if double else _COMPUTE_32F), ctypes.c_int(self._algorithm)
        if not lead:
            (b, flip_b, ld_b), (a, flip_a, ld_a) = _laid_out(xp, b, columns=True), _laid_out(xp, a, columns=False)
            self._call(
                "cublasGemmEx", ctypes.c_int(flip_b), ctypes.c_int(flip_a), *size, ctypes.byref(one),
                _at(b), kind, ctypes.c_int(ld_b), _at(a), kind, ctypes.c_int(ld_a), ctypes.byref(zero),
                _at(c), kind, ctypes.c_int(columns), *how,
            )  # fmt: skip
            return
        (b, step_b), (a, step_a) = (_batched(xp, one_of, lead) for one_of in (b, a))
        self._call(
            "cublasGemmStridedBatchedEx", ctypes.c_int(0), ctypes.c_int(0), *size, ctypes.byref(one),
            _at(b), kind, ctypes.c_int(columns), ctypes.c_longlong(step_b),
            _at(a), kind, ctypes.c_int(depth), ctypes.c_longlong(step_a), ctypes.byref(zero),
            _at(c), kind, ctypes.c_int(columns), ctypes.c_longlong(rows * columns), ctypes.c_int(batch), *how,
        )  # fmt: skip


def _at(array: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.data.ptr)


def _laid_out(xp: Any, matrix: Any, columns: bool) -> tuple[Any, int, int]:
    """A matrix that cuBLAS can read, whether it is to be transposed there, and its leading size.

    A single row or column may be taken for either order; ``columns`` says for which, so that it is CuPy's choice.
    """
    if not (matrix.flags.c_contiguous or matrix.flags.f_contiguous):
        matrix = xp.ascontiguousarray(matrix)
    flip = matrix.flags.f_contiguous if columns else not matrix.flags.c_contiguous
    return matrix, int(flip), matrix.shape[0] if flip else matrix.shape[1]


def _batched(xp: Any, array: Any, lead: tuple[int, ...]) -> tuple[Any, int]:
    """Row-major matrices, and how many elements lie from one to the next."""
    if prod(array.shape[:-2]) == 1:
        return xp.ascontiguousarray(array), 0
    if array.shape[:-2] != lead:
        array = xp.broadcast_to(array, (*lead, *array.shape[-2:]))
    return xp.ascontiguousarray(array), array.shape[-2] * array.shape[-1]
