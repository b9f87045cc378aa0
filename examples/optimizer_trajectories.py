"""Every optimizer of nnlab on a canyon and on a saddle: where each goes, and how fast.

    python examples/optimizer_trajectories.py [--out FOLDER]

Both surfaces are f(x) = x H x / 2 in two dimensions. The canyon (eigenvalues 1 and 40, turned by 30 degrees) is what
gradient descent crosses back and forth while it creeps along; the saddle (2 and -2) is what it comes to and hardly
leaves. The folder gets ``trajectories.png`` and ``numbers.json``. What theory says of these surfaces is asserted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from common import finish, folder

import nnlab
from nnlab import figures, nn, optim

Make = Callable[[list[nn.Parameter]], optim.Optimizer]

FAMILIES: dict[str, dict[str, Make]] = {
    "One rate for all": {
        "gradient descent": lambda p: optim.SGD(p, lr=0.045),
        "momentum": lambda p: optim.SGD(p, lr=0.02, momentum=0.8),
        "Nesterov": lambda p: optim.SGD(p, lr=0.02, momentum=0.8, nesterov=True),
        "line search": lambda p: optim.LineSearch(p),
    },
    "A rate for each element": {
        "Adagrad": lambda p: optim.Adagrad(p, lr=0.6),
        "Adadelta": lambda p: optim.Adadelta(p, eps=1e-3),
        "RMSprop": lambda p: optim.RMSprop(p, lr=0.04, alpha=0.9),
        "Rprop": lambda p: optim.Rprop(p, lr=0.05, step_sizes=(1e-6, 0.5)),
    },
    "Adam and its kin": {  # AdamW differs from Adam by its weight decay alone
        "Adam": lambda p: optim.Adam(p, lr=0.15),
        "Adamax": lambda p: optim.Adamax(p, lr=0.3),
        "NAdam": lambda p: optim.NAdam(p, lr=0.15),
        "RAdam": lambda p: optim.RAdam(p, lr=0.045, betas=(0.9, 0.95)),
    },
    "Curvature": {
        "Newton": lambda p: optim.Newton(p),
        "Newton, damped": lambda p: optim.Newton(p, damping=4.0),
        "L-BFGS": lambda p: optim.LBFGS(p, max_iter=1, line_search_fn="strong_wolfe"),
    },
}
COLOURS = ("#4c78a8", "#e45756", "#54a24b", "#b279a2")
STEPS = 120


def _turned(degrees: float, *eigenvalues: float) -> np.ndarray:
    a = math.radians(degrees)
    axes = np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
    return axes @ np.diag(eigenvalues) @ axes.T


@dataclass(frozen=True)
class Surface:
    """x H x / 2, where the optimizers start, and the corners (left, below), (right, above) of the picture."""

    title: str
    hessian: np.ndarray
    start: np.ndarray
    corners: tuple[tuple[float, float], tuple[float, float]]

    def value(self, x: np.ndarray) -> Any:
        return ((x @ self.hessian) * x).sum(-1) / 2

    def outside(self, x: np.ndarray) -> bool:
        return bool((x < self.corners[0]).any() or (x > self.corners[1]).any())


CANYON = Surface("Canyon", _turned(30, 1, 40), np.array([-2.6, -0.7]), ((-2.9, -2.1), (0.7, 0.5)))
SADDLE = Surface("Saddle", _turned(0, 2, -2), np.array([-1.3, 1e-3]), ((-1.5, -0.5), (0.6, 1.0)))


def walk(make: Make, surface: Surface) -> np.ndarray:
    """The points from the start on, (steps + 1, 2); a walk ends outside of the picture."""
    x = nn.Parameter(nnlab.tensor(surface.start))
    hessian = nnlab.tensor(surface.hessian)
    optimizer = make([x])

    def closure() -> nnlab.Tensor:
        loss = (x @ (hessian @ x)) / 2
        if not isinstance(optimizer, optim.Newton):
            optimizer.zero_grad()
            loss.backward()
        return loss

    points = [surface.start]
    while len(points) <= STEPS and not surface.outside(points[-1]):
        optimizer.step(closure)
        points.append(x.detach().numpy().copy())
    return np.stack(points)


def steps_to_the_bottom(points: np.ndarray) -> int | None:
    """Steps after which a walk stays below a thousandth of the canyon's first value."""
    high = np.flatnonzero(CANYON.value(points) > CANYON.value(points[0]) / 1000)
    return None if high[-1] == len(points) - 1 else int(high[-1]) + 1


def steps_off_the_saddle(points: np.ndarray) -> int | None:
    """Steps after which a walk has left the picture."""
    return len(points) - 1 if SADDLE.outside(points[-1]) else None


def check(walks: dict[str, dict[str, np.ndarray]], steps: dict[str, dict[str, int | None]]) -> None:
    """What theory says."""
    canyon, saddle = walks["Canyon"], walks["Saddle"]
    rate, count = 0.045, np.arange(STEPS + 1)
    # Gradient descent multiplies the distance along each eigenvector by 1 - rate * eigenvalue.
    values, axes = np.linalg.eigh(CANYON.hessian)
    expected = (1 - rate * values) ** count[:, None] * (axes.T @ CANYON.start)
    np.testing.assert_allclose(canyon["gradient descent"] @ axes, expected, rtol=1e-9, atol=1e-12)
    # So it leaves the saddle after the steps that bring its small distance from the ridge to the picture's edge.
    leaves = math.log(SADDLE.corners[1][1] / SADDLE.start[1]) / math.log(1 + rate * 2)
    assert steps["Saddle"]["gradient descent"] == math.ceil(leaves)
    # Newton's method goes to the critical point in one step, be it a minimum or a saddle; damped it comes away.
    for walk_ in (canyon["Newton"], saddle["Newton"]):
        np.testing.assert_allclose(walk_[1], 0, atol=1e-13)
    assert steps["Saddle"]["Newton"] is None
    assert steps["Saddle"]["Newton, damped"] is not None
    # A quadratic in two dimensions: L-BFGS needs few steps. Momentum is faster along the canyon, and off the saddle.
    assert steps["Canyon"]["L-BFGS"] is not None and steps["Canyon"]["L-BFGS"] <= 6
    for surface in steps.values():
        plain = surface["gradient descent"] or STEPS
        for name in ("momentum", "Nesterov"):
            assert (surface[name] or STEPS) < plain, (name, surface)
    # Rates of their own bring all of these off the saddle before gradient descent.
    for family in ("A rate for each element", "Adam and its kin"):
        for name in FAMILIES[family]:
            assert (steps["Saddle"][name] or STEPS) < steps["Saddle"]["gradient descent"], name


def draw(walks: dict[str, dict[str, np.ndarray]], steps: dict[str, dict[str, int | None]]) -> Any:
    """For each surface a row of trajectories and a row of values, a column for each family."""
    figure, axes = figures.subplots(
        17, 11, 4, len(FAMILIES), height_ratios=(3, 1.6, 3, 1.6), purpose="drawing the trajectories"
    )
    for row, surface in ((0, CANYON), (2, SADDLE)):
        (left, below), (right, above) = surface.corners
        grid = np.stack(np.meshgrid(np.linspace(left, right, 200), np.linspace(below, above, 200)), -1)
        z = surface.value(grid)
        levels = np.linspace(z.min(), z.max(), 18) if z.min() < 0 else z.max() * np.linspace(0, 1, 12) ** 3
        for column, (family, makers) in enumerate(FAMILIES.items()):
            plane, values = axes[row][column], axes[row + 1][column]
            plane.contour(grid[..., 0], grid[..., 1], z, levels=levels, colors="0.78", linewidths=0.9)
            plane.plot(*surface.start, "o", color="black", markersize=6, zorder=5)
            plane.plot(0, 0, "x" if z.min() < 0 else "*", color="black", markersize=10, zorder=5)
            for name, colour in zip(makers, COLOURS, strict=False):
                points = walks[surface.title][name]
                count = steps[surface.title][name]
                label = f"{name} ({'-' if count is None else count})"
                plane.plot(*points.T, ".-", color=colour, linewidth=1.4, markersize=5, alpha=0.85, label=label)
                height_of = surface.value(points)
                if z.min() < 0:
                    values.plot(height_of, color=colour, linewidth=1.6)
                else:
                    values.semilogy(np.maximum(height_of, 1e-13), color=colour, linewidth=1.6)
            plane.set(xlim=(left, right), ylim=(below, above), aspect="equal", xticks=(), yticks=())
            plane.legend(fontsize=8, loc="lower right" if row == 0 else "lower left", framealpha=0.9)
            if row == 0:
                plane.set_title(family)
            values.set_xlim(0, STEPS)
            values.grid(alpha=0.25)
            values.spines[["top", "right"]].set_visible(False)
            values.set_xlabel("Steps")
            if z.min() < 0:
                values.set_ylim(-1, 1.1 * float(surface.value(surface.start)))
            else:
                values.set_ylim(1e-13, 10 * float(surface.value(surface.start)))
        until = "value < 1/1000 of the first" if row == 0 else "out of the picture"
        axes[row][0].set_ylabel(f"{surface.title}\n(steps until {until})")
        axes[row + 1][0].set_ylabel("Value")
    return figure


def main(arguments: list[str] | None = None) -> None:
    out = folder("optimizer-trajectories", __doc__, arguments)
    makers = {name: make for family in FAMILIES.values() for name, make in family.items()}
    walks = {s.title: {name: walk(make, s) for name, make in makers.items()} for s in (CANYON, SADDLE)}
    steps = {
        "Canyon": {name: steps_to_the_bottom(points) for name, points in walks["Canyon"].items()},
        "Saddle": {name: steps_off_the_saddle(points) for name, points in walks["Saddle"].items()},
    }
    print(f"{'':18}{'down the canyon':>18}{'off the saddle':>18}")
    for name in makers:
        canyon, saddle = (f"{s} steps" if (s := steps[t][name]) is not None else "not" for t in ("Canyon", "Saddle"))
        print(f"{name:18}{canyon:>18}{saddle:>18}")
    check(walks, steps)
    finish(out, {"trajectories": draw(walks, steps)}, steps)


if __name__ == "__main__":
    main()
