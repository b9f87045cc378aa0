"""Pooling of every kind on a feature map, where the gradient goes, and three ways back to the full size.

    python examples/pooling.py [--out FOLDER]

The feature map is what a convolution and a ReLU make of a photograph: dark spots and lines. First row: a quarter of its
width and height by max, overlapping max (windows of 5, steps of 4), average, L2 and Gaussian pooling. Second: where max
pooling sends the gradient, and unpooling by nearest neighbours, a bed of nails, and the stored positions. At the right:
how much the result changes if the picture moves by some pixels, relative to the change of the feature map itself. The
photograph comes with scikit-learn. The folder gets ``pooling.png`` and ``numbers.json``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from common import finish, folder

import nnlab
from nnlab import figures
from nnlab.classic import filters, resampling
from nnlab.errors import optional_import
from nnlab.nn import functional as F

Pool = Callable[[nnlab.Tensor], nnlab.Tensor]

POOLS: dict[str, Pool] = {
    "max": lambda x: F.max_pool2d(x, 4),
    "max, overlapping": lambda x: F.max_pool2d(x, 5, 4, 1),
    "average": lambda x: F.avg_pool2d(x, 4),
    "L2": lambda x: F.lp_pool2d(x, 2, 4),
    "Gaussian": lambda x: resampling.gaussian_pool2d(x, 4),
}
SHIFTS = range(1, 9)
COLOURS = ("#e45756", "#f58518", "#4c78a8", "#54a24b", "#b279a2")


def photograph() -> nnlab.Tensor:
    """A part of a picture of a flower, (1, 1, 160, 168), grey, 0..1."""
    datasets = optional_import("sklearn.datasets", extra="demo", purpose="the sample photograph")
    image = datasets.load_sample_image("flower.jpg")[120:280, 250:418]
    return nnlab.tensor((image @ np.array([0.299, 0.587, 0.114])) / 255)[None, None]


def features(image: nnlab.Tensor) -> nnlab.Tensor:
    """Dark spots and lines."""
    return F.relu(filters.convolve(image, filters.laplacian_of_gaussian(9, 1.0)))


def routes(x: nnlab.Tensor) -> tuple[nnlab.Tensor, nnlab.Tensor]:
    """Gradient of the sum of max pooling (windows of 4), and of overlapping windows (5, step 4)."""
    leaf = x.detach().requires_grad_()
    return tuple(nnlab.grad(POOLS[name](leaf).sum(), leaf)[0] for name in ("max", "max, overlapping"))


def unpooled(x: nnlab.Tensor) -> dict[str, nnlab.Tensor]:
    pooled, positions = F.max_pool2d(x, 4, return_indices=True)
    return {
        "nearest neighbour": F.interpolate(pooled, scale_factor=4),
        "bed of nails": resampling.bed_of_nails2d(pooled, 4),
        "stored positions": F.max_unpool2d(pooled, positions, 4),
    }


def changes(x: nnlab.Tensor) -> dict[str, list[float]]:
    """1 - correlation of the pooled maps before and after a shift, over that of the maps themselves."""

    def change(a: nnlab.Tensor, b: nnlab.Tensor) -> float:
        return 1 - float(np.corrcoef(a.numpy().ravel(), b.numpy().ravel())[0, 1])

    def window(shift: int) -> nnlab.Tensor:
        return x[..., shift : shift + 160]

    whole = [change(window(0), window(s)) for s in SHIFTS]
    return {
        name: [change(pool(window(0)), pool(window(s))) / w for s, w in zip(SHIFTS, whole, strict=True)]
        for name, pool in POOLS.items()
    }


def check(x: nnlab.Tensor, changed: dict[str, list[float]]) -> None:
    # Every window gives its gradient of 1 to one pixel, which several windows may share if they overlap.
    apart, overlapping = (g.numpy()[0, 0] for g in routes(x))
    assert set(np.unique(apart)) == {0, 1}
    assert (apart.reshape(40, 4, 42, 4).sum((1, 3)) == 1).all()
    assert overlapping.sum() == 40 * 42 and overlapping.max() > 1
    # A window of equal pixels gives it to the first one.
    flat = nnlab.zeros(1, 1, 4, 4, requires_grad=True)
    (gradient,) = nnlab.grad(F.max_pool2d(flat, 2).sum(), flat)
    assert gradient[0, 0].tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    # Stored positions put each maximum where it was, so the picture agrees there and pooling again gives the same.
    back = unpooled(x)
    pooled, stored = F.max_pool2d(x, 4), back["stored positions"]
    assert (stored.numpy()[0, 0] == x.numpy()[0, 0] * apart).all()
    for name, y in back.items():
        assert np.array_equal(F.max_pool2d(y, 4).numpy(), pooled.numpy()), name
    # max >= root of the mean square >= mean; the L2 pool is a sum, 4 times the root.
    maximum, mean, root = (POOLS[name](x).numpy() for name in ("max", "average", "L2"))
    assert (maximum >= root / 4 - 1e-12).all() and (root / 4 >= mean - 1e-12).all()
    # The average of all is the average of averages.
    assert abs(F.adaptive_avg_pool2d(x, 1).item() - mean.mean()) < 1e-12
    # Pooled maps change less under a shift than the map itself, overlapping maxima least.
    for name, row in changed.items():
        assert max(row) < 1, name
        assert name == "max, overlapping" or all(a > b for a, b in zip(row, changed["max, overlapping"], strict=True))


def draw(image: nnlab.Tensor, changed: dict[str, list[float]]) -> Any:
    figure, axes = figures.subplots(20, 6.2, 2, 7, purpose="drawing the pooling")
    x = features(image)
    pictures = {"photograph": image, "feature map": x, **{name: pool(x) for name, pool in POOLS.items()}}
    for axis, (name, picture) in zip(axes[0], pictures.items(), strict=True):
        plane = picture[0, 0].numpy()
        axis.imshow(plane, cmap="gray", vmin=0, vmax=None if name == "photograph" else np.quantile(plane, 0.995))
        axis.set_title(name, fontsize=11)
    corner = (slice(60, 84), slice(60, 84))  # what the second row shows of the full size
    closer = {"a part of the map": x, **dict(zip(("gradient", "gradient, overlapping"), routes(x), strict=True))}
    closer |= {f"unpooled: {name}": y for name, y in unpooled(x).items()}
    high = x[0, 0].numpy()[corner].max()
    for axis, (name, picture) in zip(axes[1], closer.items(), strict=False):
        part = picture[0, 0].numpy()[corner]
        axis.imshow(part, cmap="gray", vmin=0, vmax=part.max() if "gradient" in name else high)
        for edge in range(4, 24, 4):
            axis.axhline(edge - 0.5, color="#4c78a8", linewidth=0.5)
            axis.axvline(edge - 0.5, color="#4c78a8", linewidth=0.5)
        axis.set_title(name, fontsize=11)
    for axis in axes.flat[:-1]:
        axis.set(xticks=(), yticks=())
    axis = axes[1][6]
    for (name, row), colour in zip(changed.items(), COLOURS, strict=True):
        axis.plot(list(SHIFTS), row, ".-", color=colour, label=name)
    axis.set(xlabel="Shift in pixels", xticks=list(SHIFTS), ylim=(0, 1))
    axis.set_title("change, feature map = 1", fontsize=11)
    axis.legend(fontsize=8)
    return figure


def main(arguments: list[str] | None = None) -> None:
    out = folder("pooling", __doc__, arguments)
    image = photograph()
    x = features(image)
    changed = changes(x)
    print("change of the pooled map over change of the map")
    print(f"{'shifted by':20}" + "".join(f"{s:>7}" for s in SHIFTS))
    for name, row in changed.items():
        print(f"{name:20}" + "".join(f"{value:>7.2f}" for value in row))
    check(x, changed)
    finish(out, {"pooling": draw(image, changed)}, changed)


if __name__ == "__main__":
    main()
