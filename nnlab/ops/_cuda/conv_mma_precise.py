"""The kernels of ``kernels/conv_mma_precise.cu``, which ``conv_mma`` launches for float32 in full precision."""

from __future__ import annotations

from nnlab.cuda.launch import Kernel
from nnlab.ops._cuda.conv_problem import MMA_PARAMETERS

# Sums in two parts: tiles of half the width, so that they fit a thread's registers.
KERNELS = {
    name: Kernel("conv_mma_precise", f"conv_mma_precise_{name}", parameters, ("float32",), {"TILE_N": (64,)})
    for name, parameters in MMA_PARAMETERS.items()
}
