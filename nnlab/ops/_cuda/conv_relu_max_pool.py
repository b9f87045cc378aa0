"""Convolution, relu and max pooling by tensor cores (``conv_mma``), the gradient by ``kernels/conv_relu_max_pool.cu``;
``gather`` is array code after that of ``max_pool``.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.cuda.launch import Kernel, launch
from nnlab.geometry import ConvGeometry, pool_geometry
from nnlab.ops._cuda import conv_mma, max_pool
from nnlab.ops._cuda.memory import empty, in_order

_BACKWARD = Kernel(
    "conv_relu_max_pool",
    "conv_relu_max_pool_backward",
    {
        "dy": "scalar*",
        "places": "uint8*",
        "dz": "scalar*",
        **dict.fromkeys(("n", "channels", "height", "width"), "index"),
    },
    ("float16", "bfloat16", "float32"),
)


def takes(be: Backend, *, geometry: ConvGeometry, dtype: Any) -> bool:
    return conv_mma.pools(be, geometry, dtype)


def forward(
    be: Backend, *, x: Any, w: Any, b: Any = None, geometry: ConvGeometry, keep: bool = True
) -> tuple[Any, Any]:
    return conv_mma.forward_relu_max_pool(be, x=x, w=w, b=b, geometry=geometry, keep=keep)


def backward(be: Backend, *, dy: Any, saved: Any, geometry: ConvGeometry) -> Any:
    images, channels, height, width = geometry.y_shape
    memory, dz = empty(be, geometry.y_shape, dy.dtype, True)
    chunks = -(-channels * dy.dtype.itemsize // 16)
    n = images * -(-height // 2) * -(-width // 2) * chunks
    launch(
        be, _BACKWARD, threads=n, dy=in_order(be, dy, True), places=in_order(be, saved, True), dz=memory, n=n,
        channels=channels, height=height, width=width,
    )  # fmt: skip
    return dz


def gather(be: Backend, *, dz: Any, saved: Any, geometry: ConvGeometry) -> Any:
    y = max_pool.gather(be, x=dz, index=saved & 3, geometry=pool_geometry(geometry.y_shape, 2))
    y[saved == 4] = 0
    return y
