"""Gradient descent with all samples, with some and with one at a time, and what a falling rate does to the noise.

    python examples/gradient_descent.py [--out FOLDER]

A linear neuron with two weights learns 250 samples by the squared error. Each way looks at the same number of samples:
the full batch takes few, exact steps, single samples take many noisy ones, which at a constant rate never come to rest.
The cloud that they end in is computed exactly, without a simulation, and compared. The rate that falls along a line,
e_k = (1 - k / tau) e_0 + (k / tau) e_tau, takes the noise away. The folder gets ``descent.png`` and ``numbers.json``.
"""

from __future__ import annotations

from itertools import repeat
from typing import Any

import numpy as np
from common import finish, folder

import nnlab
from nnlab import figures, nn, optim
from nnlab.classic import descent
from nnlab.data import DataLoader, RandomSampler, TensorDataset
from nnlab.nn import functional as F
from nnlab.optim.lr_scheduler import LinearLR
from nnlab.random import host_generator

SAMPLES, EPOCHS, RATE, LAST = 250, 16, 0.1, 0.001
START = np.array([-1.2, 2.2])
COLOURS = {"full batch": "#4c78a8", "line search": "#b279a2", "batches of 10": "#54a24b", "single samples": "#e45756"}
SIZES = {"full batch": SAMPLES, "line search": SAMPLES, "batches of 10": 10, "single samples": 1}


def problem() -> tuple[np.ndarray, np.ndarray]:
    """Inputs (250, 2), correlated, so that the error surface is a canyon; targets (250,) with noise."""
    random = host_generator(1)
    x = random.standard_normal((SAMPLES, 2)) @ np.array([[0.9, 0.5], [0.0, 0.6]])
    return x, x @ np.array([1.0, -0.5]) + 0.3 * random.standard_normal(SAMPLES)


def walk(name: str, x: np.ndarray, d: np.ndarray, decay: bool = False) -> np.ndarray:
    """The weights after each update, (updates + 1, 2)."""
    w = nn.Parameter(nnlab.tensor(START))
    whole, size = (nnlab.tensor(x), nnlab.tensor(d)), SIZES[name]
    optimizer: optim.Optimizer = optim.LineSearch([w]) if name == "line search" else optim.SGD([w], lr=RATE)
    if size == SAMPLES:
        batches: Any = repeat(whole, EPOCHS)
    else:
        samples = TensorDataset(*whole)
        drawn = RandomSampler(samples, replacement=True, num_samples=SAMPLES * EPOCHS, seed=3)
        batches = DataLoader(samples, size, sampler=drawn)
    updates = SAMPLES * EPOCHS // size
    schedule = LinearLR(optimizer, 1.0, LAST / RATE, updates) if decay else None
    return descent.path(lambda x, d: F.mse_loss(x @ w, d) / 2, optimizer, batches, schedule)


def least_squares(x: np.ndarray, d: np.ndarray) -> np.ndarray:
    return np.linalg.solve(x.T @ x, x.T @ d)


def excess(points: np.ndarray, x: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Loss above the smallest possible one, at each point."""
    away = points - least_squares(x, d)
    return ((away @ x.T) ** 2).mean(-1) / 2


def cloud(x: np.ndarray, d: np.ndarray, size: int) -> np.ndarray:
    """Covariance (2, 2) that the weights settle at under batches of ``size`` samples drawn independently.

    With e = w - w*, residuals r and H the mean of x x', a step is e <- (I - rate H_B) e + rate b_B over the batch. The
    covariance S therefore obeys S = A S A + rate^2 / size (mean of x x' S x x' - H S H + mean of r^2 x x'),
    A = I - rate H, a linear equation.
    """
    outer = x[:, :, None] * x[:, None, :]
    hessian = outer.mean(0)
    a = np.eye(2) - RATE * hessian
    residual = d - x @ least_squares(x, d)
    kept = np.kron(a, a)
    spread = sum(np.kron(o, o) for o in outer) / SAMPLES - np.kron(hessian, hessian)
    noise = (residual[:, None, None] ** 2 * outer).mean(0) * RATE**2 / size
    return np.linalg.solve(np.eye(4) - kept - RATE**2 / size * spread, noise.reshape(-1)).reshape(2, 2)


def check(walks: dict[str, np.ndarray], decayed: np.ndarray, x: np.ndarray, d: np.ndarray) -> dict[str, Any]:
    """What theory says; returns the numbers that the picture shows."""
    best, hessian = least_squares(x, d), x.T @ x / SAMPLES
    rates, axes = np.linalg.eigh(hessian)
    # The full batch multiplies the distance along each axis of the canyon by 1 - rate * curvature.
    factors = (1 - RATE * rates) ** np.arange(EPOCHS + 1)[:, None]
    np.testing.assert_allclose((walks["full batch"] - best) @ axes, factors * ((START - best) @ axes), atol=1e-12)
    # A line search never goes uphill.
    assert (np.diff(excess(walks["line search"], x, d)) <= 0).all()
    numbers: dict[str, Any] = {}
    for name in ("batches of 10", "single samples"):
        count = len(walks[name])
        rest = (walks[name][count // 2 :] - best) @ axes
        variance = np.diag(axes.T @ cloud(x, d, SIZES[name]) @ axes)
        # Steps remember each other for 1 / (rate * curvature) updates: so many independent ones are in the half.
        memory = (1 - RATE * rates) ** 2
        deviation = np.sqrt(2 / len(rest) * (1 + memory) / (1 - memory))
        found = (rest**2).mean(0) / variance
        assert (np.abs(found - 1) < 5 * deviation).all(), (name, found, deviation)
        floor = float(np.trace(cloud(x, d, SIZES[name]) @ hessian)) / 2
        numbers[name] = {"floor": float(excess(walks[name], x, d)[count // 2 :].mean()), "computed": floor}
    # The cloud is as much larger as the batch is smaller, and a little more.
    ratio = numbers["single samples"]["computed"] / numbers["batches of 10"]["computed"]
    assert 10 < ratio < 12
    # The falling rate leaves less than a fifth of the noise in the last twentieth of the updates.
    last = float(excess(decayed[-len(decayed) // 20 :], x, d).mean())
    assert last < numbers["single samples"]["floor"] / 5
    numbers["single samples"]["with falling rate"] = last
    return numbers


def draw(walks: dict[str, np.ndarray], decayed: np.ndarray, x: np.ndarray, d: np.ndarray) -> Any:
    figure, axes = figures.subplots(17, 5.6, 1, 3, purpose="drawing the descent")
    plane, near, values = axes[0]
    best = least_squares(x, d)
    grid = np.stack(np.meshgrid(np.linspace(-1.5, 1.6, 150), np.linspace(-1.1, 2.5, 150)), -1)
    z = excess(grid.reshape(-1, 2), x, d).reshape(150, 150)
    plane.contour(grid[..., 0], grid[..., 1], z, levels=z.max() * np.linspace(0, 1, 12) ** 2, colors="0.8")
    circle = 2 * np.stack([np.cos(a := np.linspace(0, 2 * np.pi, 200)), np.sin(a)])
    for name in reversed(COLOURS):
        points, size, colour = walks[name], SIZES[name], COLOURS[name]
        plane.plot(*points.T, "-" if size == 1 else ".-", color=colour, linewidth=0.7 if size == 1 else 1.4, label=name)
        smooth(values, excess(points, x, d), size, colour, name)
        if size < SAMPLES:
            near.plot(*points[len(points) // 2 :].T, ".", color=colour, markersize=2 if size == 1 else 5)
            covariance = cloud(x, d, size)
            ellipse = best[:, None] + np.linalg.cholesky(covariance) @ circle
            near.plot(*ellipse, color="black", linestyle="-" if size == 1 else "--")
            values.axhline(np.trace(covariance @ x.T @ x) / SAMPLES / 2, color=colour, linestyle="--", linewidth=1)
    smooth(values, excess(decayed, x, d), 1, "0.35", "single samples, falling rate")
    plane.plot(*START, "o", color="black")
    plane.plot(*best, "*", color="black", markersize=12, zorder=6)
    plane.set(title="16 passes over 250 samples", xlabel="First weight", ylabel="Second weight")
    near.set(title="The second half, and where it is expected (2 deviations)", xlabel="First weight", aspect="equal")
    values.set(title="Loss above its minimum (running mean; dashed: computed)", xlabel="Passes over the samples")
    values.set(xlim=(0, EPOCHS), ylim=(3e-5, 100))
    plane.legend()
    values.legend()
    return figure


def smooth(axes: Any, losses: np.ndarray, size: int, colour: str, label: str) -> None:
    """Mean of the losses over a fifth of a pass, drawn in its middle."""
    window = max(SAMPLES // size // 5, 1)
    mean = np.convolve(losses, np.full(window, 1 / window), "valid")
    axes.semilogy((np.arange(len(mean)) + (window - 1) / 2) * size / SAMPLES, mean, color=colour, label=label)


def main(arguments: list[str] | None = None) -> None:
    out = folder("gradient-descent", __doc__, arguments)
    x, d = problem()
    walks = {name: walk(name, x, d) for name in SIZES}
    decayed = walk("single samples", x, d, decay=True)
    numbers = check(walks, decayed, x, d)
    print(f"{'':16}{'updates':>9}{'loss above minimum':>20}{'computed':>12}")
    for name, points in walks.items():
        row = numbers.get(name, {"floor": float(excess(points, x, d)[-1])})
        computed = f"{row['computed']:>12.2e}" if "computed" in row else ""
        print(f"{name:16}{len(points) - 1:>9}{row['floor']:>20.2e}{computed}")
    print(f"{'falling rate':16}{len(decayed) - 1:>9}{numbers['single samples']['with falling rate']:>20.2e}")
    finish(out, {"descent": draw(walks, decayed, x, d)}, numbers)


if __name__ == "__main__":
    main()
