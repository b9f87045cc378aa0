"""Convolution as image processing: kernels that find edges and blobs, large kernels taken apart, templates found.

Kernels are small float64 arrays on the host; images are Tensors (..., H, W) of any device, filtered by ``conv2d``.
"""

from __future__ import annotations

import numpy as np

from nnlab.autograd import Tensor
from nnlab.autograd.creation import from_numpy
from nnlab.autograd.elementwise import where
from nnlab.errors import ArgumentError, ShapeError, complaint
from nnlab.nn import functional as F

# Derivatives of a picture in three directions; a ramp of one grey level a pixel gives 8 (along the diagonal 12).
SOBEL = {
    "right": np.array([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]),
    "down": np.array([[1.0, 2.0, 1.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -1.0]]),
    "down left": np.array([[0.0, 1.0, 2.0], [-1.0, 0.0, 1.0], [-2.0, -1.0, 0.0]]),
}


def convolve(image: Tensor, kernel: np.ndarray, mode: str | None = "reflect") -> Tensor:
    """Convolution in the sense of mathematics, with the flipped kernel: y[i] = sum over t of kernel[t] x[i - t].

    Layers called convolutions correlate, they do not flip; for kernels that are learned it makes no difference.

    Args:
        image: (..., H, W), floating point.
        kernel: (h, w), of odd sizes unless ``mode`` is None; t counts from its middle.
        mode: what is beyond the border, as in ``pad``: "reflect", "constant" (zeros), "replicate", "circular"; None
            takes only the positions at which the kernel lies inside.

    Returns:
        (..., H, W), or (..., H - h + 1, W - w + 1) without a border.
    """
    kernel = _plane("convolve", "kernel", kernel)
    h, w = kernel.shape
    x = image.reshape(-1, 1, *image.shape[-2:])
    if mode is not None:
        if not h % 2 or not w % 2:
            raise ArgumentError(complaint("convolve", "kernel", "have odd sizes where a border is added", (h, w)))
        x = F.pad(x, (w // 2, w // 2, h // 2, h // 2), mode=mode)
    weight = from_numpy(kernel[::-1, ::-1].copy()).to(device=image.device, dtype=image.dtype)
    y = F.conv2d(x, weight.reshape(1, 1, h, w))
    return y.reshape(*image.shape[:-2], *y.shape[-2:])


def convolve_fft(image: Tensor, kernel: np.ndarray) -> Tensor:
    """The same as ``convolve(image, kernel, "circular")`` by the convolution theorem, on the host in float64.

    F(x * k) = F(x) F(k): two transforms, a product of each pair of numbers, and one transform back: n log n operations
    instead of n times the kernel's size. Arguments and result as in :func:`convolve`; no gradients pass.
    """
    kernel = _plane("convolve_fft", "kernel", kernel)
    size = image.shape[-2:]
    if kernel.shape[0] > size[0] or kernel.shape[1] > size[1]:
        raise ShapeError(complaint("convolve_fft", "kernel", f"fit into the image {tuple(size)}", kernel.shape))
    spread = np.zeros(size)
    spread[: kernel.shape[0], : kernel.shape[1]] = kernel
    spread = np.roll(spread, (-(kernel.shape[0] // 2), -(kernel.shape[1] // 2)), (0, 1))  # its middle to the corner
    spectrum = np.fft.rfft2(image.detach().cpu().numpy().astype(np.float64)) * np.fft.rfft2(spread)
    return from_numpy(np.fft.irfft2(spectrum, size)).to(device=image.device, dtype=image.dtype)


def gaussian(size: int, sigma: float) -> np.ndarray:
    """exp(-(u^2 + v^2) / (2 sigma^2)) at the distances u, v from the middle of (size, size), with sum 1."""
    radius2 = _radius2("gaussian", size, sigma)
    kernel = np.exp(-radius2 / (2 * sigma**2))
    return kernel / kernel.sum()


def laplacian_of_gaussian(size: int, sigma: float) -> np.ndarray:
    """Second derivatives of the Gaussian, (r^2 - 2 sigma^2) / sigma^4 times it, with sum 0: blobs and edges.

    A convolution with it is the Laplacian of the blurred picture.

    Source: Marr and Hildreth, "Theory of edge detection", Proceedings of the Royal Society B 207, 1980.
    """
    radius2 = _radius2("laplacian_of_gaussian", size, sigma)
    kernel = (radius2 - 2 * sigma**2) / sigma**4 * gaussian(size, sigma)
    return kernel - kernel.mean()


def merge(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The one kernel that does what two convolutions do in turn, x * (g * h) = (x * g) * h.

    Args:
        first, second: (h, w) and (i, j).

    Returns:
        (h + i - 1, w + j - 1).
    """
    first, second = _plane("merge", "first", first), _plane("merge", "second", second)
    (h, w), (i, j) = first.shape, second.shape
    whole = np.zeros((h + i - 1, w + j - 1))
    for a in range(h):
        for b in range(w):
            whole[a : a + i, b : b + j] += first[a, b] * second
    return whole


def separate(kernel: np.ndarray, rank: int = 1) -> list[tuple[np.ndarray, np.ndarray]]:
    """Columns (h, 1) and rows (1, w) whose products add up to the kernel, as nearly as ``rank`` pairs can.

    By the singular value decomposition; what is left has the sum of squares of the singular values that are left out. A
    pair costs h + w multiplications a pixel instead of h w: ``convolve(convolve(x, column), row)``.

    Args:
        kernel: (h, w).
        rank: number of pairs, at most min(h, w).
    """
    kernel = _plane("separate", "kernel", kernel)
    if not 1 <= rank <= min(kernel.shape):
        raise ArgumentError(complaint("separate", "rank", f"be in 1..{min(kernel.shape)}", rank))
    u, s, v = np.linalg.svd(kernel)
    return [(u[:, k : k + 1] * np.sqrt(s[k]), v[k : k + 1] * np.sqrt(s[k])) for k in range(rank)]


def match_template(image: Tensor, template: Tensor) -> Tensor:
    """Normalised cross-correlation: how much each part of the image is like the template, in -1..1.

    The correlation coefficient of the template's pixels with those under it, so brightness and contrast do not matter;
    1 where they are equal but for these, 0 where the image has one brightness. It is computed in float64.

    Args:
        image: (H, W).
        template: (h, w), on the same device, not of one brightness.

    Returns:
        (H - h + 1, W - w + 1) of the image's dtype; the position is that of the template's upper left corner.

    Source: Lewis, "Fast normalized cross-correlation", Vision Interface 1995.
    """
    if image.ndim != 2 or template.ndim != 2 or any(t > i for t, i in zip(template.shape, image.shape, strict=True)):
        must = f"be a plane that fits into the image {tuple(image.shape)}"
        raise ShapeError(complaint("match_template", "template", must, tuple(template.shape)))
    x, t = image.double(), template.double()
    x, t = (x - x.mean()).reshape(1, 1, *x.shape), t - t.mean()
    size, n = tuple(t.shape), t.numel()
    norm = float((t * t).sum())
    if norm <= 1e-12 * float((template.double() ** 2).sum()):
        raise ArgumentError("[match_template] 'template' must not be of one brightness")
    mean, square = F.avg_pool2d(x, size, 1), F.avg_pool2d(x * x, size, 1)
    spread = n * (square - mean * mean)
    flat = spread <= 1e-12 * n * square
    likeness = F.conv2d(x, t.reshape(1, 1, *size)) / (where(flat, 1.0, spread) * norm).sqrt()
    return where(flat, 0.0, likeness)[0, 0].to(image.dtype)


def _plane(where_: str, name: str, kernel: np.ndarray) -> np.ndarray:
    kernel = np.asarray(kernel, dtype=np.float64)
    if kernel.ndim != 2 or not kernel.size:
        raise ShapeError(complaint(where_, name, "have shape (h, w)", kernel.shape))
    return kernel


def _radius2(where_: str, size: int, sigma: float) -> np.ndarray:
    for name, value in (("size", size), ("sigma", sigma)):
        if not value > 0:
            raise ArgumentError(complaint(where_, name, "be positive", value))
    place = np.arange(size) - (size - 1) / 2
    return place[:, None] ** 2 + place**2
