"""Transposed convolution adds up copies of its kernel, unevenly: the checkerboard, and how it is avoided.

    python examples/checkerboard.py [--out FOLDER]

First row: a picture of 4 x 4 through a 3 x 3 kernel of ones at stride 2, as one works it out by hand, and how many
copies of the kernel meet at each pixel: 1, 2 or 4, unless the stride divides the kernel's size. Second row: a
photograph, four times smaller, made large again by two such layers; with kernels of ones 3 x 3 shows the pattern and
4 x 4 does not, but with other weights 4 x 4 does too. Nearest neighbours followed by a convolution never do: where the
picture is even, so is the result. The photograph comes with scikit-learn. The folder gets ``checkerboard.png`` and
``numbers.json``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from common import finish, folder

import nnlab
from nnlab import figures
from nnlab.classic import resampling
from nnlab.errors import optional_import
from nnlab.nn import functional as F
from nnlab.random import host_generator

PICTURE = [[1, 2, 5, 5], [3, 4, 5, 5], [5, 5, 5, 5], [5, 5, 5, 5]]
SHAPES = ((3, 2), (4, 2), (5, 2), (5, 3))  # kernel, stride


def by_hand() -> np.ndarray:
    x = nnlab.tensor(PICTURE, dtype=nnlab.float64)[None, None]
    return F.conv_transpose2d(x, nnlab.ones(1, 1, 3, 3, dtype=nnlab.float64), stride=2)[0, 0].numpy()


def small_photograph() -> nnlab.Tensor:
    """A part of a picture of a flower, (1, 1, 40, 40), grey, 0..1."""
    datasets = optional_import("sklearn.datasets", extra="demo", purpose="the sample photograph")
    image = datasets.load_sample_image("flower.jpg")[120:280, 250:410]
    return F.avg_pool2d(nnlab.tensor((image @ np.array([0.299, 0.587, 0.114])) / 255)[None, None], 4)


def weights(side: int, even: bool) -> nnlab.Tensor:
    """A kernel with sum 1: of equal numbers, or of positive random ones."""
    kernel = np.ones((side, side)) if even else host_generator(4).random((side, side))
    return nnlab.tensor(kernel / kernel.sum())[None, None]


def transposed(x: nnlab.Tensor, side: int, even: bool) -> nnlab.Tensor:
    """Twice as large: stride 2, times 4 so that the brightness stays."""
    kernel = 4 * weights(side, even)
    if side % 2:
        return F.conv_transpose2d(x, kernel, stride=2, padding=side // 2, output_padding=1)
    return F.conv_transpose2d(x, kernel, stride=2, padding=side // 2 - 1)


def resized(x: nnlab.Tensor, even: bool) -> nnlab.Tensor:
    """Twice as large: nearest neighbours, then a convolution of 3 x 3 with repeated borders."""
    large = F.interpolate(x, scale_factor=2)
    return F.conv2d(F.pad(large, (1, 1, 1, 1), mode="replicate"), weights(3, even))


WAYS = {
    "transposed 3 × 3, ones": lambda x: transposed(x, 3, True),
    "transposed 4 × 4, ones": lambda x: transposed(x, 4, True),
    "transposed 4 × 4, random": lambda x: transposed(x, 4, False),
    "nearest, then 3 × 3, ones": lambda x: resized(x, True),
    "nearest, then 3 × 3, random": lambda x: resized(x, False),
}


def unevenness() -> dict[str, float]:
    """Standard deviation over mean of what two layers make of a picture of one brightness, without the border."""
    flat = nnlab.ones(1, 1, 12, 12, dtype=nnlab.float64)
    found = {}
    for name, way in WAYS.items():
        inside = way(way(flat))[0, 0, 12:-12, 12:-12].numpy()
        found[name] = float(inside.std() / inside.mean())
    return found


def check(found: dict[str, float]) -> None:
    wanted = np.zeros((9, 9))
    for i, row in enumerate(PICTURE):
        for j, pixel in enumerate(row):
            wanted[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += pixel
    assert by_hand().tolist() == wanted.tolist()
    assert by_hand()[:5, :4].tolist() == [[1, 1, 3, 2], [1, 1, 3, 2], [4, 4, 10, 6], [3, 3, 7, 4], [8, 8, 17, 9]]
    assert resampling.overlaps(4, 3, 2).tolist() == [1, 1, 2, 1, 2, 1, 2, 1, 1]
    assert set(resampling.overlaps(6, 4, 2)[2:-2]) == {2}
    # One layer of 3 x 3 ones gives 1, 2, 1, 2, ... along a line: mean 3/2, mean square 5/2, so 10/9 times the square of
    # the mean, and in a plane the square of that.
    one = transposed(nnlab.ones(1, 1, 12, 12, dtype=nnlab.float64), 3, True)[0, 0, 6:-6, 6:-6].numpy()
    np.testing.assert_allclose((one.std() / one.mean()) ** 2, (10 / 9) ** 2 - 1, rtol=1e-12)
    assert found["transposed 3 × 3, ones"] > 0.4
    assert found["transposed 4 × 4, random"] > 0.05
    for name in ("transposed 4 × 4, ones", "nearest, then 3 × 3, ones", "nearest, then 3 × 3, random"):
        assert found[name] < 1e-14, name


def draw(found: dict[str, float]) -> Any:
    figure, axes = figures.subplots(18, 6.8, 2, 6, purpose="drawing the checkerboard")
    copies = {
        f"copies: {k} × {k}, stride {s}": np.multiply.outer(*2 * [resampling.overlaps(4, k, s)]) for k, s in SHAPES
    }
    tables = {"4 × 4": np.array(PICTURE), "by 3 × 3 ones at stride 2": by_hand(), **copies}
    for axis, (name, table) in zip(axes[0], tables.items(), strict=True):
        axis.imshow(table, cmap="Blues", vmin=0, vmax=1.7 * table.max())
        for (i, j), number in np.ndenumerate(table):
            axis.text(j, i, f"{number:.0f}", ha="center", va="center", fontsize=8 if len(table) > 5 else 11)
        axis.set_title(name, fontsize=11)
    x = small_photograph()
    pictures = {"small": x, **{name: way(way(x)) for name, way in WAYS.items()}}
    for axis, (name, picture) in zip(axes[1], pictures.items(), strict=True):
        plane = picture[0, 0].numpy()
        part = plane[10:30, 10:30] if name == "small" else plane[40:120, 40:120]
        axis.imshow(part, cmap="gray", vmin=0, vmax=1)
        axis.set_title(f"{name}\nuneven by {found[name]:.0%}" if name in found else name, fontsize=11)
    for axis in axes.flat:
        axis.set(xticks=(), yticks=())
    return figure


def main(arguments: list[str] | None = None) -> None:
    out = folder("checkerboard", __doc__, arguments)
    found = unevenness()
    for kernel, stride in SHAPES:
        print(f"kernel {kernel}, stride {stride}: {resampling.overlaps(6, kernel, stride).tolist()}")
    for name, value in found.items():
        print(f"{name:30}{value:>7.1%} uneven")
    check(found)
    finish(out, {"checkerboard": draw(found)}, found)


if __name__ == "__main__":
    main()
