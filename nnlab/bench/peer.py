"""PyTorch beside nnlab: the same arrays, device and precision, in one process."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import numpy as np

from nnlab.backend.threads import get_num_threads
from nnlab.errors import MissingExtraError

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
        if self.be.host_memory:
            tensor = self.torch.from_numpy(array)
        else:
            tensor = self.torch.from_dlpack(array)
        if layout == "channels_last" and tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=self.torch.channels_last)
        return tensor

    def to_numpy(self, tensor: Any) -> np.ndarray:
        host: np.ndarray = tensor.detach().cpu().numpy()
        return host
