"""Convolutions of every kind: a worked example, what an output pixel sees, what lies beyond the border, what it costs.

    python examples/convolutions.py [--out FOLDER]

The first row is a 3 x 3 kernel sliding over a 5 x 5 picture, not flipped as layers do it (correlation) and flipped as
mathematics does (convolution). The second shows, for stacks of layers, how much each input pixel counts for one output
pixel: two 3 x 3 kernels see what one of 5 x 5 sees, and three with holes (atrous, rates 1, 2, 4) as much as one of
15 x 15. The third shows borders. The table compares numbers of parameters and products. The folder gets
``convolutions.png`` and ``numbers.json``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from common import finish, folder

import nnlab
from nnlab import figures, nn
from nnlab.classic.receptive_field import receptive_field
from nnlab.nn import functional as F

PICTURE = [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]]
KERNEL = [[0, 1, 2], [2, 2, 0], [0, 1, 2]]
STACKS: dict[str, list[tuple[int, int, int]]] = {  # kernel, stride, dilation
    "3 × 3": [(3, 1, 1)],
    "two of 3 × 3": [(3, 1, 1), (3, 1, 1)],
    "5 × 5": [(5, 1, 1)],
    "3 × 3, stride 2, then 3 × 3": [(3, 2, 1), (3, 1, 1)],
    "3 × 3 atrous, rate 2": [(3, 1, 2)],
    "3 × 3 atrous, rates 1, 2, 4": [(3, 1, 1), (3, 1, 2), (3, 1, 4)],
}
BORDERS = {"zeros": "constant", "reflected": "reflect", "repeated": "replicate", "from the other side": "circular"}
CHANNELS, SIZE = 64, 56  # of the layers in the table


def layers() -> dict[str, nn.Sequential]:
    """Ways from 64 channels to 64 that keep the picture's size."""
    c = CHANNELS
    return {
        "5 × 5": nn.Sequential(nn.Conv2d(c, c, 5, padding=2)),
        "3 × 3": nn.Sequential(nn.Conv2d(c, c, 3, padding=1)),
        "two of 3 × 3": nn.Sequential(nn.Conv2d(c, c, 3, padding=1), nn.Conv2d(c, c, 3, padding=1)),
        "3 × 3 atrous, rate 2": nn.Sequential(nn.Conv2d(c, c, 3, padding=2, dilation=2)),
        "3 × 3 in 4 groups": nn.Sequential(nn.Conv2d(c, c, 3, padding=1, groups=4)),
        "depthwise 3 × 3 and 1 × 1": nn.Sequential(nn.Conv2d(c, c, 3, padding=1, groups=c), nn.Conv2d(c, c, 1)),
        "1 × 1": nn.Sequential(nn.Conv2d(c, c, 1)),
    }


def costs() -> dict[str, dict[str, int]]:
    """Parameters, and products a picture of 56 x 56."""
    found = {}
    for name, net in layers().items():
        weights = sum(p.numel() for key, p in net.named_parameters() if key.endswith("weight"))
        assert net(nnlab.zeros(1, CHANNELS, 8, 8)).shape == (1, CHANNELS, 8, 8)
        found[name] = {"parameters": sum(p.numel() for p in net.parameters()), "products": weights * SIZE**2}
    return found


def tensor(rows: Any) -> nnlab.Tensor:
    return nnlab.tensor(rows, dtype=nnlab.float64)[None, None]


def slide(flipped: bool) -> np.ndarray:
    kernel = tensor(KERNEL)
    return F.conv2d(tensor(PICTURE), kernel.flip((2, 3)) if flipped else kernel)[0, 0].numpy()


def seen(stack: list[tuple[int, int, int]], size: int = 17) -> np.ndarray:
    """How often each pixel of (17, 17) is counted for one output pixel, if all weights are 1."""
    area, _ = receptive_field(stack)
    x = nnlab.zeros(1, 1, area, area, dtype=nnlab.float64, requires_grad=True)
    y: Any = x
    for kernel, stride, dilation in stack:
        ones = nnlab.ones(1, 1, kernel, kernel, dtype=nnlab.float64)
        y = F.conv2d(y, ones, stride=stride, dilation=dilation)
    (counts,) = nnlab.grad(y.reshape(()), x)
    margin = size - area
    return np.pad(counts.numpy()[0, 0], (margin // 2, margin - margin // 2))


def bordered(mode: str) -> np.ndarray:
    """A small picture with four more pixels at the left and above, and two at the other sides."""
    v, u = np.mgrid[:10, :10]
    picture = tensor(np.sqrt((v - 2.0) ** 2 + (u - 3.0) ** 2) % 5 / 5)
    return F.pad(picture, (4, 2, 4, 2), mode=mode)[0, 0].numpy()


def check(found: dict[str, dict[str, int]]) -> None:
    assert slide(flipped=False).tolist() == [[12, 12, 17], [10, 17, 19], [9, 6, 14]]
    assert slide(flipped=True).tolist() == [[18, 20, 19], [10, 9, 17], [11, 8, 14]]
    sides = {"two of 3 × 3": 5, "5 × 5": 5, "3 × 3 atrous, rate 2": 5, "3 × 3 atrous, rates 1, 2, 4": 15}
    for name, side in sides.items():
        counts = seen(STACKS[name])
        rows = np.flatnonzero(counts.any(1))
        assert rows[-1] - rows[0] + 1 == side, name
    # Two kernels of ones in turn count like one of (1, 2, 3, 2, 1) both ways; the three with holes leave none.
    assert seen(STACKS["two of 3 × 3"])[8, 6:11].tolist() == [3, 6, 9, 6, 3]
    assert (seen(STACKS["3 × 3 atrous, rates 1, 2, 4"])[1:16, 1:16] > 0).all()
    for mode, numpys in (("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap"), ("constant", "constant")):
        inside = bordered("constant")[4:14, 4:14]
        np.testing.assert_array_equal(bordered(mode), np.pad(inside, ((4, 2), (4, 2)), mode=numpys))
    k, c = 9, CHANNELS
    assert found["3 × 3"]["parameters"] == (k * c + 1) * c
    assert found["two of 3 × 3"]["products"] / found["5 × 5"]["products"] == 18 / 25
    separable = found["depthwise 3 × 3 and 1 × 1"]["products"] / found["3 × 3"]["products"]
    assert abs(separable - (1 / c + 1 / k)) < 1e-12


def draw() -> Any:
    figure, axes = figures.subplots(17, 9, 3, 6, purpose="drawing the convolutions")
    for axis in axes.flat:
        axis.set(xticks=(), yticks=())
    flipped = np.array(KERNEL)[::-1, ::-1]
    tables = {
        "picture": np.array(PICTURE), "kernel": np.array(KERNEL), "correlation": slide(False),
        "kernel, flipped": flipped, "convolution": slide(True),
    }  # fmt: skip
    for axis, (name, table) in zip(axes[0], tables.items(), strict=False):
        axis.imshow(table, cmap="Blues", vmin=0, vmax=2 * table.max())
        for (i, j), number in np.ndenumerate(table):
            axis.text(j, i, f"{number:.0f}", ha="center", va="center")
        axis.set_title(name, fontsize=11)
    axes[0][5].axis("off")
    for axis, (name, stack) in zip(axes[1], STACKS.items(), strict=True):
        counts = seen(stack)
        axis.imshow(counts, cmap="Blues", vmin=0, vmax=1.3 * counts.max())
        size, step = receptive_field(stack)
        axis.set_title(f"{name}\nsees {size} × {size}" + (f", next {step} away" if step > 1 else ""), fontsize=11)
    for axis, (name, mode) in zip(axes[2], BORDERS.items(), strict=False):
        axis.imshow(bordered(mode), cmap="gray")
        axis.plot([3.5, 13.5, 13.5, 3.5, 3.5], [3.5, 3.5, 13.5, 13.5, 3.5], color="#e45756")
        axis.set_title(f"border: {name}", fontsize=11)
    for axis in axes[2][4:]:
        axis.axis("off")
    return figure


def main(arguments: list[str] | None = None) -> None:
    out = folder("convolutions", __doc__, arguments)
    found = costs()
    print(f"{f'{CHANNELS} channels to {CHANNELS}, {SIZE} × {SIZE}':28}{'parameters':>12}{'million products':>18}")
    for name, row in found.items():
        print(f"{name:28}{row['parameters']:>12,}{row['products'] / 1e6:>18.1f}")
    check(found)
    finish(out, {"convolutions": draw()}, found)


if __name__ == "__main__":
    main()
