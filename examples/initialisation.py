"""Five ways to draw the first weights: how signals and gradients grow or fade through 20 layers, against theory.

    python examples/initialisation.py [--out FOLDER]

The network gets narrower, from 480 units to 60, so that the rules differ: the variance 1 / n_in (Xavier) keeps the
signal, 2 / (n_in + n_out) (Glorot and Bengio) is between that and what would keep the gradient, and 2 / n_in (He) makes
up for the half that ReLU cuts off. Zeros and N(0, 0.01 squared) are what a deep network cannot start from. Dots are
measured, lines are the theory of wide networks. The second picture shows what it means for learning the digits. The
folder gets ``signals.png``, ``training.png`` and ``numbers.json``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from common import finish, folder

import nnlab
from nnlab import figures, nn, optim
from nnlab.classic import signals
from nnlab.data import DataLoader, TensorDataset, load
from nnlab.nn import functional as F
from nnlab.nn import init

DEPTH = 20
SIZES = [round(480 * 8 ** (-i / DEPTH)) for i in range(DEPTH + 1)]
STDS: dict[str, Callable[[int, int], float]] = {
    "zeros": lambda n_in, n_out: 0.0,
    "N(0, 0.01²)": lambda n_in, n_out: 0.01,
    "Xavier, 1 / n_in": lambda n_in, n_out: math.sqrt(1 / n_in),
    "Glorot, 2 / (n_in + n_out)": lambda n_in, n_out: math.sqrt(2 / (n_in + n_out)),
    "He, 2 / n_in": lambda n_in, n_out: math.sqrt(2 / n_in),
}
FILLS: dict[str, Callable[[nnlab.Tensor], Any]] = {
    "zeros": init.zeros_,
    "N(0, 0.01²)": lambda w: init.normal_(w, 0, 0.01),
    "Xavier, 1 / n_in": lambda w: init.kaiming_normal_(w, nonlinearity="linear"),
    "Glorot, 2 / (n_in + n_out)": init.xavier_normal_,
    "He, 2 / n_in": lambda w: init.kaiming_normal_(w, nonlinearity="relu"),
}
COLOURS = ("#9d755d", "#b279a2", "#4c78a8", "#54a24b", "#e45756")
ACTIVATIONS: dict[str, tuple[Callable[[], nn.Module], signals.Function, signals.Function]] = {
    "ReLU": (nn.ReLU, lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
    "tanh": (nn.Tanh, np.tanh, lambda z: 1 - np.tanh(z) ** 2),
}


def layers(activation: str, fill: Callable[[nnlab.Tensor], Any], sizes: list[int]) -> list[nn.Sequential]:
    made = []
    for n_in, n_out in pairwise(sizes):
        dense = nn.Linear(n_in, n_out)
        fill(dense.weight)
        init.zeros_(dense.bias)
        made.append(nn.Sequential(dense, ACTIVATIONS[activation][0]()))
    return made


def measure(activation: str, name: str) -> dict[str, list[float]]:
    """Mean squares of outputs and gradients of each layer, measured and expected."""
    nnlab.manual_seed(0)
    x, gradient = nnlab.randn(100, SIZES[0]), nnlab.randn(100, SIZES[-1])
    found = signals.mean_squares(layers(activation, FILLS[name], SIZES), x, gradient)
    stds = [STDS[name](a, b) for a, b in pairwise(SIZES)]
    theory = signals.expected_mean_squares(SIZES, stds, *ACTIVATIONS[activation][1:])
    return {"signal": found[0], "gradient": found[1], "signal expected": theory[0], "gradient expected": theory[1]}


def train(name: str) -> list[float]:
    """Training loss of each epoch of a network of ten hidden ReLU layers on the digits."""
    nnlab.manual_seed(0)
    digits = load("digits")
    x, target = next(iter(DataLoader(digits, len(digits))))
    x = (x.flatten(1) - x.mean()) / x.std()
    last = nn.Linear(48, 10)
    FILLS[name](last.weight)
    init.zeros_(last.bias)
    net = nn.Sequential(*layers("ReLU", FILLS[name], [64] + [48] * 10), last)
    optimizer, losses = optim.SGD(net.parameters(), lr=0.02, momentum=0.9), []
    loader = DataLoader(TensorDataset(x, target), 128, shuffle=True, seed=0)
    for _ in range(8):
        total = 0.0
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(batch), labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        losses.append(total / len(x))
    if name == "zeros":  # every hidden unit is like every other and gets no gradient: only the last bias moves
        assert all(not p.detach().any() for key, p in net.named_parameters() if key != "10.bias")
    return losses


def check(found: dict[str, dict[str, dict[str, list[float]]]], losses: dict[str, list[float]]) -> None:
    # A layer of n units multiplies the mean square by a random factor; for ReLU its variance is 5 / n, for tanh less.
    # So after some layers the logarithm has a variance of the sum, and five deviations are allowed.
    spread = np.cumsum(5 / np.array(SIZES[1:]))
    for activation, ways in found.items():
        for name, row in ways.items():
            if name == "zeros":
                assert not any(row["signal"]) and not any(row["signal expected"])
                continue
            for what, noise in (("signal", spread), ("gradient", spread[-1] - spread + 5 / SIZES[-1])):
                away = np.abs(np.log(np.array(row[what]) / np.array(row[f"{what} expected"])))
                assert (away < 5 * np.sqrt(noise)).all(), (activation, name, what, away, noise)
    relu = found["ReLU"]
    # He's rule keeps the mean square of ReLU layers; Xavier's loses half a layer; 0.01 even more.
    np.testing.assert_allclose(relu["He, 2 / n_in"]["signal expected"], 1, rtol=1e-12)
    np.testing.assert_allclose(relu["Xavier, 1 / n_in"]["signal expected"], 0.5 ** np.arange(1, DEPTH + 1), rtol=1e-12)
    assert relu["N(0, 0.01²)"]["signal"][-1] < 1e-20
    # Only what keeps the signal learns at once; from zeros nothing but the mean is learnt.
    assert losses["He, 2 / n_in"][-1] < 0.5
    for name in ("zeros", "N(0, 0.01²)"):
        assert losses[name][-1] > 2.29, name


def draw(found: dict[str, dict[str, dict[str, list[float]]]]) -> Any:
    figure, axes = figures.subplots(13, 9, 2, 2, sharex=True, purpose="drawing signals")
    place = np.arange(1, DEPTH + 1)
    for row, (activation, ways) in zip(axes, found.items(), strict=True):
        for axis, what in zip(row, ("signal", "gradient"), strict=True):
            for (name, numbers), colour in zip(ways.items(), COLOURS, strict=True):
                if name == "zeros":
                    continue  # no place on a logarithmic axis
                axis.semilogy(place, numbers[f"{what} expected"], color=colour)
                axis.semilogy(place, numbers[what], "o", color=colour, markersize=4, label=name)
            axis.set(title=f"{activation}: mean square of the {what}", ylim=(1e-8, 1e3), xticks=range(0, DEPTH + 1, 5))
            axis.grid(alpha=0.25)
    for axis in axes[1]:
        axis.set_xlabel("Layer")
    axes[0][0].legend(loc="lower left", fontsize=9)
    return figure


def draw_training(losses: dict[str, list[float]]) -> Any:
    figure, axes = figures.subplots(7, 4.5, purpose="drawing the training")
    axis = axes[0][0]
    for (name, values), colour in zip(losses.items(), COLOURS, strict=True):
        style = "--" if name == "zeros" else "-"
        axis.plot(range(1, len(values) + 1), values, style, color=colour, label=name)
    axis.set(title="Ten hidden layers of ReLU learn the digits", xlabel="Epoch", ylabel="Training loss", ylim=(0, 3))
    axis.legend()
    return figure


def main(arguments: list[str] | None = None) -> None:
    out = folder("initialisation", __doc__, arguments)
    found = {activation: {name: measure(activation, name) for name in STDS} for activation in ACTIVATIONS}
    losses = {name: train(name) for name in STDS}
    print(f"{'after 20 layers of ReLU':28}{'signal':>10}{'expected':>10}{'gradient':>12}{'expected':>10}{'loss':>8}")
    for name, row in found["ReLU"].items():
        cells = [row["signal"][-1], row["signal expected"][-1], row["gradient"][0], row["gradient expected"][0]]
        print(f"{name:28}{cells[0]:>10.1e}{cells[1]:>10.1e}{cells[2]:>12.1e}{cells[3]:>10.1e}{losses[name][-1]:>8.2f}")
    check(found, losses)
    finish(out, {"signals": draw(found), "training": draw_training(losses)}, {"signals": found, "losses": losses})


if __name__ == "__main__":
    main()
