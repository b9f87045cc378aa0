"""Local response normalisation by ``kernels/local_response_norm.cu``."""

from __future__ import annotations

from math import prod
from typing import Any

from nnlab.backend import Backend
from nnlab.cuda.launch import Kernel, accumulator, launch

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


def _window(x: Any, below: int, above: int) -> dict[str, int]:
    """The window within the channels that there are."""
    channels = x.shape[1]
    return {
        "n": x.size,
        "channels": channels,
        "inner": prod(x.shape[2:]),
        "below": min(below, channels),
        "above": min(above, channels),
    }


def forward(be: Backend, *, x: Any, size: int, alpha: float, beta: float, k: float) -> tuple[Any, Any]:
    xp = be.xp
    x = xp.asarray(x, order="C")
    y, s = xp.empty(x.shape, x.dtype), xp.empty(x.shape, accumulator(x.dtype))
    launch(
        be, _FORWARD, threads=x.size, x=x, y=y, s=s, **_window(x, size // 2, (size - 1) // 2),
        scale=alpha / size, beta=beta, k=k,
    )  # fmt: skip
    return y, s


def backward(be: Backend, *, dy: Any, x: Any, s: Any, size: int, alpha: float, beta: float) -> Any:
    xp = be.xp
    dy, x, s = (xp.asarray(array, order="C") for array in (dy, x, s))
    dx = xp.empty(x.shape, x.dtype)
    launch(
        be, _BACKWARD, threads=x.size, dy=dy, x=x, s=s, dx=dx, **_window(x, (size - 1) // 2, size // 2),
        factor=2 * alpha * beta / size, beta=beta,
    )  # fmt: skip
    return dx


def channel_sum(be: Backend, *, x: Any, below: int, above: int) -> Any:
    xp = be.xp
    x = xp.asarray(x, order="C")
    y = xp.empty(x.shape, x.dtype)
    launch(be, _CHANNEL_SUM, threads=x.size, x=x, y=y, **_window(x, below, above))
    return y
