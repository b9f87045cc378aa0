"""A network that is built, not trained: step neurons that approximate a function as closely as you like.

    python examples/blum_li.py [--out FOLDER]

Blum and Li cut a box into tiles. A step neuron a border and, behind them, an AND neuron a tile give the function's
value at the tile's centre. For f with |f(x) - f(y)| <= L |x - y|, tiles whose half diagonal is at most error / L do.
The price is size: four times the neurons for half the error. Uneven tiles spend them where f is steep. The folder gets
``blum_li.png`` and ``numbers.json``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from common import finish, folder

import nnlab
from nnlab import figures, nn
from nnlab.classic.blum_li import build, tiles

ERRORS = (1.0, 0.5, 0.2, 0.1)
SIDE = np.linspace(-1, 1, 161)
GRID = np.stack(np.meshgrid(SIDE, SIDE), -1)


def wave(p: np.ndarray) -> np.ndarray:
    """sin(pi x) cos(pi y), whose gradient's length is at most pi."""
    return np.sin(math.pi * p[..., 0]) * np.cos(math.pi * p[..., 1])


def cliff(p: np.ndarray) -> np.ndarray:
    """A cliff at x = 0."""
    return np.tanh(10 * p[..., 0])


def value(network: nn.Module, points: np.ndarray) -> np.ndarray:
    """In parts, for the layer of tiles is wide."""
    with nnlab.no_grad():
        parts = [network(nnlab.tensor(part))[..., 0].numpy() for part in np.array_split(points.reshape(-1, 2), 16)]
    return np.concatenate(parts).reshape(points.shape[:-1])


def neurons(network: nn.Module) -> int:
    return sum(layer.out_features for layer in network if isinstance(layer, nn.Linear)) - 1


def cliffs() -> dict[str, nn.Module]:
    """Twelve tiles along x, of equal width, or of equal height of the cliff."""
    even = np.linspace(-1, 1, 13)
    uneven = np.arctanh(np.linspace(-1, 1, 13)[1:-1] * np.tanh(10)) / 10
    uneven = np.concatenate([[-1], uneven, [1]])
    networks = {}
    for name, borders in (("even", even), ("uneven", uneven)):
        if name == "even":
            heights = cliff((borders[1:] + borders[:-1])[:, None] / 2)
        else:
            heights = (cliff(borders[1:, None]) + cliff(borders[:-1, None])) / 2
        networks[name] = tiles([borders[1:-1], []], heights[:, None], dtype=nnlab.float64)
    return networks


def check(found: dict[float, dict[str, float]], steep: dict[str, float]) -> None:
    for error, row in found.items():
        assert error / 4 < row["largest error"] <= error, (error, row)
        n = math.ceil(2 / (2 * error / math.pi / math.sqrt(2)))
        assert row["neurons"] == n * n + 2 * (n - 1)
    # Half the error takes four times the neurons.
    assert 3.5 < found[0.1]["neurons"] / found[0.2]["neurons"] < 4.1
    # Tiles of equal height are off by half of it: tanh(10) / 12.
    assert abs(steep["uneven"] - math.tanh(10) / 12) < 1e-3
    assert steep["even"] > 4 * steep["uneven"]


def draw(networks: dict[float, nn.Module], found: dict[float, dict[str, float]], steep: dict[str, nn.Module]) -> Any:
    figure, axes = figures.subplots(15, 8, 2, 4, purpose="drawing the approximation")
    look = {"origin": "lower", "extent": (-1, 1, -1, 1), "cmap": "RdBu_r"}
    axes[0][0].imshow(wave(GRID), vmin=-1, vmax=1, **look)
    axes[0][0].set_title("sin($\\pi$x) cos($\\pi$y)")
    for plane, error in zip(axes[0][1:], (1.0, 0.5, 0.1), strict=True):
        shown = plane.imshow(value(networks[error], GRID), vmin=-1, vmax=1, **look)
        plane.set_title(f"error {error:g} asked for: {found[error]['neurons']:,} step neurons", fontsize=10)
    figure.colorbar(shown, ax=axes[0], shrink=0.8)
    off, cost, steps, wrong = axes[1]
    shown = off.imshow(value(networks[0.1], GRID) - wave(GRID), vmin=-0.1, vmax=0.1, **look)
    off.set_title("network - function, asked for 0.1", fontsize=10)
    figure.colorbar(shown, ax=off, shrink=0.8)
    counts = [row["neurons"] for row in found.values()]
    cost.loglog(counts, list(found), "o-", color="0.5", label="asked for")
    cost.loglog(counts, [row["largest error"] for row in found.values()], "o-", color="#e45756", label="found")
    cost.set(xlabel="step neurons", title="largest error on a grid of 161 x 161")
    cost.title.set_fontsize(10)
    cost.legend()
    cost.grid(alpha=0.3)
    line = np.stack([np.linspace(-1, 1, 2001), np.zeros(2001)], 1)
    steps.plot(line[:, 0], cliff(line), color="0.6", linewidth=3, label="tanh(10x)")
    for (name, network), colour in zip(steep.items(), ("#4c78a8", "#e45756"), strict=True):
        approximation = value(network, line)
        steps.plot(line[:, 0], approximation, color=colour, label=f"12 {name} tiles", linewidth=1.2)
        wrong.plot(line[:, 0], abs(approximation - cliff(line)), color=colour, label=f"{name} tiles", linewidth=1.2)
    steps.set(title="tiles of any width", xlabel="x")
    wrong.set(title="|network - function|", xlabel="x")
    for plane in (*axes[0], off):
        plane.set(xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    for plane in (steps, wrong):
        plane.legend(fontsize=8, loc="upper left")
        plane.grid(alpha=0.3)
    return figure


def main(arguments: list[str] | None = None) -> None:
    out = folder("blum-li", __doc__, arguments)
    networks = {
        error: build(wave, (-1, -1), (1, 1), error=error, lipschitz=math.pi, dtype=nnlab.float64) for error in ERRORS
    }
    found = {
        error: {
            "neurons": neurons(network), "largest error": float(abs(value(network, GRID) - wave(GRID)).max())
        } for error, network in networks.items()
    }  # fmt: skip
    steep = cliffs()
    line = np.stack([np.linspace(-1, 1, 20001), np.zeros(20001)], 1)
    worst = {name: float(abs(value(network, line) - cliff(line)).max()) for name, network in steep.items()}
    print(f"{'asked for':>10}{'found':>10}{'step neurons':>14}")
    for error, row in found.items():
        print(f"{error:10g}{row['largest error']:10.3f}{row['neurons']:14,}")
    print("twelve tiles of a cliff: " + ", ".join(f"{name} {error:.3f}" for name, error in worst.items()))
    check(found, worst)
    numbers = {"wave": [{"asked for": e, **row} for e, row in found.items()], "cliff": worst}
    finish(out, {"blum_li": draw(networks, found, steep)}, numbers)


if __name__ == "__main__":
    main()
