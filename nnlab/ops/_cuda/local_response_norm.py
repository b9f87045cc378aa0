"""Local response normalisation by ``kernels/local_response_norm.cu``."""

from __future__ import annotations

from math import prod
from typing import Any

from nnlab.backend import Backend
from nnlab.cuda.launch import Kernel, accumulator, launch
from nnlab.ops._cuda.memory import empty, in_order, memory_of

_WINDOW = dict.fromkeys(("n", "channels", "inner", "below", "above"), "index")
_FORWARD = Kernel(
    "local_response_norm",
    "local_response_norm_forward",
    {"x": "scalar*", "y": "scalar*", "s": "acc*", **_WINDOW, "scale": "acc", "beta": "acc", "k": "acc"},
)
_BACKWARD = Kernel(
    "local_response_norm",
    "local_response_norm_backward",
    {"dy": "scalar*", "x": "scalar*", "s": "acc*", "dx": "scalar*", **_WINDOW, "factor": "acc", "beta": "acc"},
)
_CHANNEL_SUM = Kernel(
    "local_response_norm", "local_response_norm_channel_sum", {"x": "scalar*", "y": "scalar*", **_WINDOW}
)


def _window(x: Any, last: bool, below: int, above: int) -> dict[str, int]:
    """The window within the channels that there are. With channels last each position counts as an image."""
    channels = x.shape[1]
    return {
        "n": x.size,
        "channels": channels,
        "inner": 1 if last else prod(x.shape[2:]),
        "below": min(below, channels),
        "above": min(above, channels),
    }


def forward(be: Backend, *, x: Any, size: int, alpha: float, beta: float, k: float) -> tuple[Any, Any]:
    source, last = memory_of(be, x)
    memory, y = empty(be, x.shape, x.dtype, last)
    scales, s = empty(be, x.shape, accumulator(x.dtype), last)
    launch(
        be, _FORWARD, threads=x.size, x=source, y=memory, s=scales, **_window(x, last, size // 2, (size - 1) // 2),
        scale=alpha / size, beta=beta, k=k,
    )  # fmt: skip
    return y, s


def backward(be: Backend, *, dy: Any, x: Any, s: Any, size: int, alpha: float, beta: float) -> Any:
    source, last = memory_of(be, x)
    memory, dx = empty(be, x.shape, x.dtype, last)
    launch(
        be, _BACKWARD, threads=x.size, dy=in_order(be, dy, last), x=source, s=in_order(be, s, last), dx=memory,
        **_window(x, last, (size - 1) // 2, size // 2), factor=2 * alpha * beta / size, beta=beta,
    )  # fmt: skip
    return dx


def channel_sum(be: Backend, *, x: Any, below: int, above: int) -> Any:
    source, last = memory_of(be, x)
    memory, y = empty(be, x.shape, x.dtype, last)
    launch(be, _CHANNEL_SUM, threads=x.size, x=source, y=memory, **_window(x, last, below, above))
    return y
