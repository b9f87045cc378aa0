"""PyTorch beside nnlab: the same arrays, device and precision, in one process."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import numpy as np

from nnlab.backend.threads import get_num_threads
from nnlab.bench.problem import Arrays, Call, Problem
from nnlab.errors import MissingExtraError
from nnlab.types import is_bfloat16

LAYOUTS = {"cpu": ("NCHW",), "cuda": ("NCHW", "channels_last")}


class Peer:
    """PyTorch on a device.

    Threads that wait do not spin, since two pools that spin on the same cores slow each other down. On a GPU cuDNN
    searches for its fastest algorithm, and float32 is float32 (no TF32).

    Raises:
        MissingExtraError: PyTorch is not installed.
    """

    def __init__(self, be: Any) -> None:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("GOMP_SPINCOUNT", "0")
        try:
            self.torch: Any = import_module("torch")
        except ImportError as error:
            raise MissingExtraError(f"[bench] --vs torch needs PyTorch ({error}); pip install torch") from error
        self.be = be
        self.layouts = LAYOUTS["cpu" if be.host_memory else "cuda"]
        self.torch.set_num_threads(get_num_threads())
        self.torch.backends.cudnn.benchmark = True
        self.torch.backends.cuda.matmul.allow_tf32 = False
        self.torch.backends.cudnn.allow_tf32 = False

    @property
    def version(self) -> str:
        return str(self.torch.__version__)

    def tensor(self, array: Any, layout: str = "NCHW") -> Any:
        """An array of the device as a tensor of it; memory is shared unless the layout differs."""
        if is_bfloat16(array.dtype):
            return self.tensor(array.view(np.int16), layout).view(self.torch.bfloat16)
        if self.be.host_memory:
            tensor = self.torch.from_numpy(array)
        else:
            tensor = self.torch.from_dlpack(array)
        if layout == "channels_last" and tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=self.torch.channels_last)
        return tensor

    def given(self, array: Any, layout: str, dtype: str) -> Any:
        """A copy of an array in a dtype that PyTorch may write into."""
        tensor = self.tensor(array.copy(), layout)
        return tensor.to(getattr(self.torch, dtype)) if tensor.is_floating_point() else tensor

    def exact(self, problem: Problem, part: str, arrays: Arrays) -> Any:
        """The result in float64, from the very numbers that all sides are given."""
        call = problem.torch(part, {name: self.given(array, "NCHW", "float64") for name, array in arrays.items()})
        self.torch.backends.cudnn.benchmark = False  # called once
        try:
            return call()
        finally:
            self.torch.backends.cudnn.benchmark = True

    def deviation(self, found: Any, wanted: Any) -> float:
        """Largest deviation of a tensor relative to the largest number, computed where the tensors are."""
        if not wanted.numel():
            return 0.0
        largest = float(wanted.detach().abs().max())
        return float((found.detach().double() - wanted.detach()).abs().max()) / largest if largest else 0.0

    def tf32(self, call: Call) -> Call:
        """The same call with products of 10 bits of mantissa allowed."""
        matmul, cudnn = self.torch.backends.cuda.matmul, self.torch.backends.cudnn

        def allowed() -> Any:
            matmul.allow_tf32 = cudnn.allow_tf32 = True
            try:
                return call()
            finally:
                matmul.allow_tf32 = cudnn.allow_tf32 = False

        return allowed

    def free(self) -> None:
        """Give unused memory back to the card."""
        if not self.be.host_memory:
            self.torch.cuda.empty_cache()

    def to_numpy(self, tensor: Any) -> np.ndarray:
        host = tensor.detach().cpu()
        found: np.ndarray = (host.float() if host.dtype == self.torch.bfloat16 else host).numpy()
        return found
