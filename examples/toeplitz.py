"""Convolution is a product with a sparse matrix, and the transposed convolution one with its transpose.

    python examples/toeplitz.py [--out FOLDER]

Each row of the matrix holds the kernel's weights where the kernel lies; in one dimension with stride 1 it is constant
along its diagonals (a Toeplitz matrix), in two it is built of such blocks. Products with it are compared with the
layers, forward and transposed. The folder gets ``toeplitz.png`` and ``numbers.json``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from common import finish, folder

import nnlab
from nnlab import figures
from nnlab.classic.toeplitz import convolution_matrix
from nnlab.nn import functional as F
from nnlab.random import host_generator

FORWARD = {1: F.conv1d, 2: F.conv2d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d}


@dataclass(frozen=True)
class Case:
    """A kernel (O, C, *k) on an input (C, *size), and how many of the matrix's elements are weights."""

    title: str
    kernel: tuple[int, ...]
    size: tuple[int, ...]
    weights: int
    options: dict[str, Any] = field(default_factory=dict)


# Weights: taps that lie on the input, output by output.
CASES = (
    Case("1-D, 5 taps on 16", (1, 1, 5), (16,), 12 * 5),
    Case("1-D, padding 2", (1, 1, 5), (16,), 16 * 5 - 2 * (2 + 1), {"padding": 2}),
    Case("1-D, stride 2, padding 2", (1, 1, 5), (16,), 8 * 5 - (2 + 1), {"stride": 2, "padding": 2}),
    Case("2-D, 3 x 3 on 6 x 6, padding 1", (1, 1, 3, 3), (6, 6), 16**2, {"padding": 1}),
    Case("2-D, stride 2, padding 1", (1, 1, 3, 3), (6, 6), 8**2, {"stride": 2, "padding": 1}),
    Case("2 to 3 channels, 3 x 3 on 5 x 5", (3, 2, 3, 3), (5, 5), 3 * 2 * 81),
)


def matrix_and_errors(case: Case) -> tuple[np.ndarray, dict[str, float]]:
    """The matrix, and how far its products with random images are from the layers' outputs."""
    rng, dims = host_generator(7), len(case.size)
    weight = nnlab.tensor(rng.uniform(0.2, 1, case.kernel) * rng.choice([-1, 1], case.kernel))
    matrix = convolution_matrix(weight, case.size, **case.options)
    x = nnlab.tensor(rng.normal(size=(4, case.kernel[1], *case.size)))
    y = FORWARD[dims](x, weight, None, **case.options)
    forward = abs(y.flatten(1) - x.flatten(1) @ matrix.T).max().item()
    back = nnlab.tensor(rng.normal(size=tuple(y.shape)))
    stride, padding = case.options.get("stride", 1), case.options.get("padding", 0)
    extra = [(n + 2 * padding - k) % stride for n, k in zip(case.size, case.kernel[2:], strict=True)]
    layer = TRANSPOSED[dims](back, weight, None, output_padding=tuple(extra), **case.options)
    transposed = abs(layer.flatten(1) - back.flatten(1) @ matrix).max().item()
    return matrix.numpy(), {"forward": forward, "transposed": transposed}


def check(matrices: dict[str, np.ndarray], errors: dict[str, dict[str, float]]) -> None:
    for case in CASES:
        assert max(errors[case.title].values()) < 1e-13, case
        assert np.count_nonzero(matrices[case.title]) == case.weights, case
    for case in CASES[:2]:  # constant along every diagonal
        matrix = matrices[case.title]
        assert (matrix[1:, 1:] == matrix[:-1, :-1]).all()
    blocks = matrices[CASES[3].title].reshape(6, 6, 6, 6)  # block row, row in it, block column, column in it
    assert (blocks[1:, :, 1:] == blocks[:-1, :, :-1]).all()


def draw(matrices: dict[str, np.ndarray]) -> Any:
    figure, axes = figures.subplots(14, 9, 2, 3, purpose="drawing the matrices")
    for plane, (title, matrix) in zip(axes.flat, matrices.items(), strict=True):
        shown = plane.imshow(np.where(matrix == 0, np.nan, matrix), cmap="RdBu_r", vmin=-1, vmax=1)
        share = np.count_nonzero(matrix) / matrix.size
        rows, columns = matrix.shape
        plane.set_title(f"{title}\n{rows} x {columns}, {share:.0%} weights", fontsize=11)
        plane.set(xlabel="inputs", ylabel="outputs", xticks=(), yticks=())
    figure.colorbar(shown, ax=axes, shrink=0.6, label="weight")
    return figure


def main(arguments: list[str] | None = None) -> None:
    out = folder("toeplitz", __doc__, arguments)
    both = {case.title: matrix_and_errors(case) for case in CASES}
    matrices, errors = {k: m for k, (m, _) in both.items()}, {k: e for k, (_, e) in both.items()}
    print(f"{'':34}{'matrix':>10}{'weights':>9}{'forward':>10}{'transposed':>12}")
    for title, matrix in matrices.items():
        shape = "{} x {}".format(*matrix.shape)
        off = errors[title]
        print(f"{title:34}{shape:>10}{np.count_nonzero(matrix):9}{off['forward']:10.1e}{off['transposed']:12.1e}")
    check(matrices, errors)
    numbers = {k: {"weights": int(np.count_nonzero(m)), **errors[k]} for k, m in matrices.items()}
    finish(out, {"toeplitz": draw(matrices)}, numbers)


if __name__ == "__main__":
    main()
