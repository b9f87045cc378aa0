"""Perceptron learning: a worked example step by step, the bound on its corrections, and the Hebbian rule.

    python examples/perceptron.py [--out FOLDER]

The weights turn towards what is wrongly answered 0 and away from what is wrongly answered 1: (1, -0.8), (2, 1.2),
(3, -0.8), (3, 0.2), and no more. Novikoff's theorem limits the corrections to (R / margin)^2, times the samples of a
batch. Hebb's rule, applied to misclassified samples alone, does the same with targets -1 and +1: it goes down
E(w) = -sum of t (w x) over the misclassified. The folder gets ``perceptron.png`` and ``numbers.json``.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from common import finish, folder

import nnlab
from nnlab import figures
from nnlab.classic.neuron import with_bias
from nnlab.classic.perceptron import Run, bound, hebbian, learn
from nnlab.random import host_generator

X = np.array([[1.0, 2.0], [-1.0, 2.0], [0.0, -1.0]])
D = np.array([1, 0, 0])
START = np.array([1.0, -0.8])
WORKED = np.array([[1, -0.8], [2, 1.2], [3, -0.8], [3, 0.2]])
MARGINS = (0.02, 0.05, 0.1, 0.2, 0.4)
SAMPLES, INPUTS = 100, 10
MODES = {"instance": 1, "mini-batch of 20": 20, "batch": SAMPLES}
RED, BLUE, COLOURS = "#e45756", "#4c78a8", ("#4c78a8", "#54a24b", "#b279a2")


def apart(seed: int, margin: float) -> tuple[nnlab.Tensor, nnlab.Tensor, nnlab.Tensor]:
    """Points of a cube at least ``margin`` from a plane through 0, their classes 0 and 1, and the plane's normal."""
    rng = host_generator(seed)
    normal = rng.normal(size=INPUTS)
    normal /= np.linalg.norm(normal)
    x = rng.uniform(-1, 1, (20 * SAMPLES, INPUTS))
    x = x[abs(x @ normal) >= margin][:SAMPLES]
    return nnlab.tensor(x), nnlab.tensor((x @ normal > 0).astype(np.int64)), nnlab.tensor(normal)


def races() -> list[dict[str, Any]]:
    """Corrections of each mode, and their limit, for some margins and seeds."""
    found = []
    for margin in MARGINS:
        for seed in range(3):
            x, d, normal = apart(seed, margin)
            limit = bound(x, d, normal)
            for mode, size in MODES.items():
                run = learn(x, d, batch_size=size, seed=seed)
                assert run.converged
                found.append({"margin": margin, "mode": mode, "corrections": run.corrections, "limit": size * limit})
    return found


def clouds() -> tuple[np.ndarray, np.ndarray]:
    """Two clouds and their targets -1, +1, which a line with an offset separates."""
    rng = host_generator(1)
    x = np.concatenate([rng.normal((1.9, 1.7), 0.33, (40, 2)), rng.normal((0.3, 0.5), 0.33, (40, 2))])
    return x, np.repeat([1.0, -1.0], 40)


def check(worked: Run, found: list[dict[str, Any]], hebb: Run, endless: Run) -> None:
    np.testing.assert_allclose(worked.path.numpy(), WORKED, rtol=1e-14)
    assert (worked.corrections, worked.passes, worked.converged) == (3, 2, True)
    for race in found:
        assert 0 < race["corrections"] <= race["limit"], race
    # Hebb: each update is lr * x * t of a sample that the weights before it got wrong.
    x, t = clouds()
    padded = np.column_stack([np.ones(len(x)), x])
    path = hebb.path.numpy()
    for before, after in itertools.pairwise(path):
        wrong = np.where(padded @ before >= 0, 1, -1) != t
        assert abs(padded[wrong] * t[wrong, None] - (after - before)).max(1).min() < 1e-12
    assert hebb.converged and (np.where(padded @ path[-1] >= 0, 1, -1) == t).all()
    assert not endless.converged and endless.path.abs().max().item() <= 3


def line(plane: Any, w: np.ndarray, **style: Any) -> None:
    """Where w0 + w1 x1 + w2 x2 = 0 (w0 = 0 if w has two elements)."""
    bias, normal = (0.0, w) if len(w) == 2 else (w[0], w[1:])
    foot = -bias * normal / (normal @ normal)
    along = np.array([-normal[1], normal[0]]) / np.linalg.norm(normal)
    plane.plot(*np.stack([foot - 9 * along, foot + 9 * along], 1), **style)


def points(plane: Any, x: np.ndarray, positive: np.ndarray, size: float) -> None:
    plane.plot(*x[positive].T, "o", color=BLUE, markersize=size, zorder=4)
    plane.plot(*x[~positive].T, "s", color=RED, markersize=size, zorder=4)


def draw(worked: Run, found: list[dict[str, Any]], hebb: Run) -> Any:
    figure, axes = figures.subplots(15, 8, 2, 4, purpose="drawing the perceptron's learning")
    after = ("at first: $x_1$ is answered 0", "$+x_1$; then $x_2$ is answered 1", "$-x_2$; then $x_3$ is answered 1",
             "$-x_3$; now all are right")  # fmt: skip
    for number, (plane, w) in enumerate(zip(axes[0], worked.path.numpy(), strict=True)):
        points(plane, X, D == 1, 10)
        for i, place in enumerate(X):
            plane.annotate(f"$x_{i + 1}$", place, (12, 3), textcoords="offset points", fontsize=12)
        if number < 3:
            plane.plot(*X[number], "o", markersize=22, fillstyle="none", color="black")
        line(plane, w, color="black", linewidth=1.4)
        plane.annotate("", w, (0, 0), arrowprops={"arrowstyle": "->", "linewidth": 1.8, "color": "#54a24b"})
        plane.set_title(f"w = ({w[0]:.0f}, {w[1]:.1f})\n{after[number]}", fontsize=11)
        plane.set(xlim=(-2.2, 3.6), ylim=(-2.2, 3.2), aspect="equal")
        plane.grid(alpha=0.25)

    limits, ratios, heb, falls = axes[1]
    for race in found:
        colour = COLOURS[list(MODES).index(race["mode"])]
        limits.plot(race["margin"], race["corrections"], "o", color=colour, markersize=6, alpha=0.8)
        ratios.plot(race["margin"], race["corrections"] / race["limit"], "o", color=colour, markersize=6, alpha=0.8)
    alone = [race for race in found if race["mode"] == "instance"]
    limits.plot([r["margin"] for r in alone], [r["limit"] for r in alone], "k_", markersize=14)
    for mode, colour in zip(MODES, COLOURS, strict=True):
        limits.plot([], [], "o", color=colour, label=mode)
    limits.plot([], [], "k_", markersize=14, label="limit (instance)")
    limits.set(xscale="log", yscale="log", ylabel="corrections", title="until all are right")
    limits.legend(fontsize=8)
    ratios.axhline(1, color="black")
    ratios.set(xscale="log", yscale="log", ylabel="corrections / limit", title="share of Novikoff's limit")
    for plane in (limits, ratios):
        plane.set_xlabel("margin")
        plane.set_xticks(MARGINS, [f"{margin:g}" for margin in MARGINS])
        plane.set_xticks((), minor=True)
        plane.grid(alpha=0.25)

    x, t = clouds()
    path = hebb.path.numpy()
    points(heb, x, t > 0, 5)
    for w in path[-6:-1]:
        line(heb, w, color="0.6", linewidth=1)
    line(heb, path[-1], color="black", linewidth=2)
    heb.set_title(f"Hebb: after {hebb.corrections} corrections\n(grey: the five lines before)", fontsize=11)
    heb.set(xlim=(-1, 3.5), ylim=(-1, 3.5), aspect="equal")
    sums = path @ np.column_stack([np.ones(len(x)), x]).T  # (updates + 1, N)
    wrong = (sums >= 0) != (t > 0)
    falls.plot(np.where(wrong, abs(sums), 0).sum(1), color=BLUE, label="E(w)")
    falls.plot(wrong.sum(1), color=RED, alpha=0.8, label="misclassified samples")
    falls.set(title="Hebb: what is left wrong", xlabel="corrections")
    falls.legend(fontsize=9)
    falls.grid(alpha=0.25)
    return figure


def main(arguments: list[str] | None = None) -> None:
    out = folder("perceptron", __doc__, arguments)
    worked = learn(nnlab.tensor(X), nnlab.tensor(D), nnlab.tensor(START))
    found = races()
    x, t = clouds()
    hebb = learn(with_bias(nnlab.tensor(x)), nnlab.tensor(t), rule=hebbian, seed=0)
    corners = with_bias(nnlab.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]))
    endless = learn(corners, nnlab.tensor([0, 1, 1, 0]), max_passes=50)
    print("weights: " + " -> ".join(f"({a:.0f}, {b:.1f})" for a, b in worked.path.tolist()))
    print(f"{'margin':>8}{'mode':>18}{'corrections':>13}{'limit':>10}")
    for race in found[:: 3 * len(MODES)] + found[1 :: 3 * len(MODES)] + found[2 :: 3 * len(MODES)]:
        print(f"{race['margin']:8}{race['mode']:>18}{race['corrections']:13}{race['limit']:10.0f}")
    most = endless.path.abs().max().item()
    print(f"exclusive or: still corrected in pass {endless.passes}, no weight beyond {most:g}")
    check(worked, found, hebb, endless)
    numbers = {"path": worked.path.tolist(), "races": found, "Hebb": hebb.corrections}
    finish(out, {"perceptron": draw(worked, found, hebb)}, numbers)


if __name__ == "__main__":
    main()
