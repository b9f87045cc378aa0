"""Back-propagation written out: its gradients against differences, layer by layer, and what it learns.

    python examples/backprop.py [--out FOLDER]

A network of four layers. Central differences are off by h^2 for large h and by rounding / h for small h; in between
they agree with back-propagation to nine digits. Then gradient descent with these gradients teaches two layers exclusive
or, which one layer does not learn, and three layers two rings. The folder gets ``backprop.png`` and ``numbers.json``.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from common import finish, folder

import nnlab
from nnlab import figures
from nnlab.classic import backprop
from nnlab.random import host_generator

SIZES, LAYERS = (4, 6, 5, 5, 3), ("tanh", "sigmoid", "tanh", "linear")
DISTANCES = 10.0 ** -np.arange(0, 11.5, 0.5)
COLOURS = ("#4c78a8", "#54a24b", "#b279a2", "#e45756")


def weights(sizes: tuple[int, ...], seed: int) -> list[nnlab.Tensor]:
    """Normal numbers, of variance 1 / inputs; the biases in column 0."""
    rng = host_generator(seed)
    return [nnlab.tensor(rng.normal(size=(n, m + 1)) / math.sqrt(m)) for m, n in itertools.pairwise(sizes)]


def differences() -> tuple[np.ndarray, list[float]]:
    """For each layer and h the relative distance of central differences from the gradient; and that of autograd."""
    rng = host_generator(1)
    x, d = (nnlab.tensor(rng.normal(size=(9, n))) for n in (SIZES[0], SIZES[-1]))
    w = weights(SIZES, 2)
    exact = [g.numpy() for g in backprop.gradients(x, d, w, LAYERS)]

    def error(layer: int, place: tuple[int, ...], change: float) -> float:
        moved = w[layer].numpy().copy()
        moved[place] += change
        new = [*w[:layer], nnlab.tensor(moved), *w[layer + 1 :]]
        return backprop.loss(backprop.forward(x, new, LAYERS)[-1], d).item()

    found = np.empty((len(w), len(DISTANCES)))
    for layer, gradient in enumerate(exact):
        # A few weights of each layer, a bias among them.
        places = [(0, 0), (0, 1), (1, 2), (2, 3), (gradient.shape[0] - 1, gradient.shape[1] - 1)]
        wanted = np.array([gradient[place] for place in places])
        for number, h in enumerate(DISTANCES):
            numerical = [(error(layer, p, h) - error(layer, p, -h)) / (2 * h) for p in places]
            found[layer, number] = np.linalg.norm(numerical - wanted) / np.linalg.norm(wanted)
    leaves = [each.clone().requires_grad_() for each in w]
    automatic = nnlab.grad(backprop.loss(backprop.forward(x, leaves, LAYERS)[-1], d), leaves)
    pairs = zip(automatic, exact, strict=True)
    return found, [float(np.linalg.norm(a.numpy() - b) / np.linalg.norm(b)) for a, b in pairs]


def rings() -> tuple[np.ndarray, np.ndarray]:
    """Points in two rings, and 0 for the inner and 1 for the outer."""
    rng = host_generator(3)
    outer = np.arange(120) % 2
    angle = rng.uniform(0, 2 * math.pi, 120)
    radius = np.where(outer, 1.6, 0.6) + rng.normal(0, 0.12, 120)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1), outer[:, None].astype(np.float64)


def learn(
    x: np.ndarray, d: np.ndarray, sizes: tuple[int, ...], layers: tuple[str, ...], lr: float, steps: int
) -> tuple[list[nnlab.Tensor], list[float]]:
    """Gradient descent; the errors of every step."""
    w, errors = weights(sizes, 4), []
    inputs, wanted = nnlab.tensor(x), nnlab.tensor(d)
    for _ in range(steps):
        errors.append(backprop.loss(backprop.forward(inputs, w, layers)[-1], wanted).item())
        w = [a - lr * g for a, g in zip(w, backprop.gradients(inputs, wanted, w, layers), strict=True)]
    return w, errors


XOR = np.array(list(itertools.product((0.0, 1.0), repeat=2))), np.array([[0.0], [1], [1], [0]])
TASKS = {
    "XOR, one layer": (XOR, (2, 1), ("sigmoid",), 1.0, 300),
    "XOR, two layers": (XOR, (2, 4, 1), ("tanh", "sigmoid"), 1.0, 300),
    "rings, three layers": (rings(), (2, 8, 8, 1), ("tanh", "tanh", "sigmoid"), 1.0, 400),
}


def right(name: str, w: list[nnlab.Tensor]) -> float:
    (x, d), _, layers = TASKS[name][:3]
    return float(((backprop.forward(nnlab.tensor(x), w, layers)[-1].numpy() > 0.5) == d).mean())


def check(found: np.ndarray, automatic: list[float], shares: dict[str, float], errors: dict[str, list[float]]) -> None:
    assert (found.min(1) < 1e-9).all()  # every layer
    # The formula's own error: a tenth of h, a hundredth of the difference.
    large, small = list(DISTANCES).index(1e-1), list(DISTANCES).index(1e-2)
    assert (abs(np.log10(found[:-1, large] / found[:-1, small]) - 2) < 0.1).all()
    # In the weights of the last layer, which is linear, the loss is quadratic: differences are exact for any h.
    assert found[-1, 0] < 1e-14
    # Below the best h, rounding takes over.
    assert (found[:, -1] > 100 * found.min(1)).all()
    assert max(automatic) < 1e-13
    assert shares["XOR, two layers"] == shares["rings, three layers"] == 1
    # The best that one layer can do by squares is to answer 1/2 everywhere, which is wrong by 1/4.
    assert abs(errors["XOR, one layer"][-1] - 0.25) < 1e-3
    assert errors["XOR, two layers"][-1] < 0.02


def draw(found: np.ndarray, errors: dict[str, list[float]], networks: dict[str, list[nnlab.Tensor]]) -> Any:
    figure, axes = figures.subplots(16, 4.4, 1, 4, purpose="drawing back-propagation")
    gaps, falls, *planes = axes[0]
    for layer, (row, colour) in enumerate(zip(found, COLOURS, strict=True)):
        gaps.loglog(DISTANCES, row, ".-", color=colour, label=f"layer {layer + 1}, {LAYERS[layer]}")
    gaps.loglog(DISTANCES[1:11], 3e-2 * DISTANCES[1:11] ** 2, "--", color="0.5", label="$\\propto h^2$")
    gaps.loglog(DISTANCES[9:], 1e-17 / DISTANCES[9:], ":", color="0.5", label="$\\propto 1/h$")
    gaps.set(xlabel="h", title="central differences - gradient, relative")
    gaps.title.set_fontsize(11)
    gaps.legend(fontsize=8)
    for (name, row), colour in zip(errors.items(), COLOURS, strict=False):
        falls.plot(row, color=colour, label=name)
    falls.axhline(0.25, color="0.5", linestyle=":")
    falls.set(xlabel="steps", title="error", ylim=(0, 0.6))
    falls.legend(fontsize=9)
    for plane, name in zip(planes, ("XOR, two layers", "rings, three layers"), strict=True):
        (x, d), _, layers = TASKS[name][:3]
        low, high = x.min() - 0.5, x.max() + 0.5
        side = np.linspace(low, high, 101)
        grid = nnlab.tensor(np.stack(np.meshgrid(side, side), -1).reshape(-1, 2))
        y = backprop.forward(grid, networks[name], layers)[-1].numpy().reshape(101, 101)
        shown = plane.contourf(side, side, y, levels=np.linspace(0, 1, 11), cmap="RdBu", alpha=0.8)
        size = 12 if len(x) == 4 else 5
        for value, style in ((0, "s"), (1, "o")):
            plane.plot(*x[d[:, 0] == value].T, style, color=("#e45756", "#4c78a8")[value], markersize=size,
                       markeredgecolor="white")  # fmt: skip
        plane.set(title=name, aspect="equal")
    figure.colorbar(shown, ax=planes, shrink=0.8, label="output")
    for plane in (gaps, falls):
        plane.grid(alpha=0.3)
    return figure


def main(arguments: list[str] | None = None) -> None:
    out = folder("backprop", __doc__, arguments)
    found, automatic = differences()
    print(f"{'':18}{'best h':>9}{'differences':>13}{'autograd':>10}")
    for layer, row in enumerate(found):
        name = f"layer {layer + 1}, {LAYERS[layer]}"
        print(f"{name:18}{DISTANCES[row.argmin()]:9.0e}{row.min():13.1e}{automatic[layer]:10.1e}")
    networks, errors = {}, {}
    for name, ((x, d), *rest) in TASKS.items():
        networks[name], errors[name] = learn(x, d, *rest)
    shares = {name: right(name, w) for name, w in networks.items()}
    for name, share in shares.items():
        print(f"{name:22}error {errors[name][-1]:.3f}, {share:6.1%} right")
    check(found, automatic, shares, errors)
    numbers = {
        "differences": found.min(1).tolist(), "autograd": automatic, "right": shares,
        "error": {k: v[-1] for k, v in errors.items()},
    }  # fmt: skip
    finish(out, {"backprop": draw(found, errors, networks)}, numbers)


if __name__ == "__main__":
    main()
