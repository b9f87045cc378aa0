"""What fixed convolutions do to a photograph: edges, blobs, a known piece found; and cheaper ways to the same result.

    python examples/image_filters.py [--out FOLDER]

Sobel's kernels give derivatives, the Laplacian of a Gaussian bright and dark blobs, normalised cross-correlation the
place of a piece cut out of the picture, also if it is darker and has less contrast, but not if it is turned. The same
results come by Fourier transforms (the convolution theorem), by two small kernels in turn, and by a column and a row.
The photograph comes with scikit-learn. The folder gets ``filters.png`` and ``numbers.json``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from common import finish, folder

import nnlab
from nnlab import figures
from nnlab.classic import filters
from nnlab.classic.receptive_field import receptive_field
from nnlab.errors import optional_import

CORNER, SIDE = (98, 224), 28  # of the piece


def photograph() -> nnlab.Tensor:
    """A part of a picture of a temple, (240, 300), grey, 0..1."""
    datasets = optional_import("sklearn.datasets", extra="demo", purpose="the sample photograph")
    image = datasets.load_sample_image("china.jpg")[60:300, 80:380]
    return nnlab.tensor((image @ np.array([0.299, 0.587, 0.114])) / 255)


def small_differences(image: nnlab.Tensor) -> dict[str, float]:
    """Largest difference between each cheap way and the direct one; 0 but for rounding."""
    blur, laplace = filters.gaussian(9, 1.5), np.array([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])
    random = filters.gaussian(15, 3.0) * np.arange(1, 226).reshape(15, 15)
    ((column, row),) = filters.separate(blur)
    in_turn = filters.convolve(filters.convolve(image, blur, None), laplace, None)
    pairs = {
        "15 x 15 by Fourier transforms": (
            filters.convolve_fft(image, random),
            filters.convolve(image, random, "circular"),
        ),
        "a column and a row, 18 for 81 products": (
            filters.convolve(filters.convolve(image, column), row),
            filters.convolve(image, blur),
        ),
        "11 x 11 as 9 x 9 and 3 x 3, 90 for 121": (
            in_turn,
            filters.convolve(image, filters.merge(blur, laplace), None),
        ),
    }
    return {name: (a - b).abs().max().item() for name, (a, b) in pairs.items()}


def results(image: nnlab.Tensor) -> dict[str, np.ndarray]:
    (y, x), side = CORNER, SIDE
    piece = image[y : y + side, x : x + side]
    found = {name: filters.convolve(image, kernel) for name, kernel in filters.SOBEL.items()}
    found["steepness"] = (found["right"] ** 2 + found["down"] ** 2).sqrt()
    found["Laplacian of a Gaussian"] = filters.convolve(image, filters.laplacian_of_gaussian(13, 2.0))
    found["likeness to the piece"] = filters.match_template(image, 0.4 * piece + 0.1)
    found["likeness to the piece, turned"] = filters.match_template(image, piece.T.flip(0))
    return {"photograph": image.numpy()} | {name: t.numpy() for name, t in found.items()}


def check(found: dict[str, np.ndarray], differences: dict[str, float]) -> None:
    for name, difference in differences.items():
        assert difference < 1e-12, name
    likeness, turned = found["likeness to the piece"], found["likeness to the piece, turned"]
    assert np.unravel_index(likeness.argmax(), likeness.shape) == CORNER
    assert abs(likeness.max() - 1) < 1e-9
    others = likeness.copy()
    y, x = CORNER
    others[y - 4 : y + 5, x - 4 : x + 5] = 0
    assert others.max() < 0.9 and turned.max() < 0.7
    # Edges are where the Laplacian changes its sign; half a pixel beside a step it is the slope of a Gaussian there.
    step = nnlab.tensor(np.repeat([[0.0, 1.0]], 20, axis=1).repeat(20, 0))
    response = filters.convolve(step, filters.laplacian_of_gaussian(13, 2.0)).numpy()[10]
    np.testing.assert_allclose(response, -response[::-1], atol=1e-14)
    assert (
        abs(response[19] / (0.5 / (8 * np.sqrt(2 * np.pi)) * np.exp(-0.25 / 8)) - 1) < 0.04
    )  # samples, not an integral
    assert receptive_field([(3, 1, 1), (3, 1, 1)]) == receptive_field([(5, 1, 1)])


def draw(found: dict[str, np.ndarray]) -> Any:
    figure, axes = figures.subplots(16, 6.8, 2, 4, purpose="drawing the filters")
    for axis, (name, picture) in zip(axes.flat, found.items(), strict=True):
        if name in ("photograph", "steepness"):
            options: dict[str, Any] = {"vmin": 0}
        else:
            limit = 1 if "likeness" in name else float(np.quantile(np.abs(picture), 0.995))
            options = {"vmin": -limit, "vmax": limit}
        axis.imshow(picture, cmap="gray", **options)
        title = name
        if "likeness" in name:
            title = f"{name}: at most {picture.max():.2f}"
            peak = np.unravel_index(picture.argmax(), picture.shape)
            axis.plot(peak[1], peak[0], "o", markersize=16, markerfacecolor="none", color="#f58518", markeredgewidth=2)
        elif name in filters.SOBEL:
            title = f"Sobel, {name}"
        axis.set_title(title, fontsize=11)
        axis.set(xticks=(), yticks=())
    y, x = CORNER
    square = [(x, y), (x + SIDE, y), (x + SIDE, y + SIDE), (x, y + SIDE), (x, y)]
    axes[0][0].plot(*zip(*square, strict=True), color="#f58518", linewidth=2)
    return figure


def main(arguments: list[str] | None = None) -> None:
    out = folder("image-filters", __doc__, arguments)
    image = photograph()
    found, differences = results(image), small_differences(image)
    for name, difference in differences.items():
        print(f"{name:42}{difference:.0e} from the direct way")
    for name in ("likeness to the piece", "likeness to the piece, turned"):
        place = tuple(int(i) for i in np.unravel_index(found[name].argmax(), found[name].shape))
        print(f"{name:42}{found[name].max():.3f} at {place}")
    check(found, differences)
    finish(out, {"filters": draw(found)}, differences)


if __name__ == "__main__":
    main()
