"""Neurons by hand: their activations, the gates AND and OR, and exclusive or, which takes two layers.

    python examples/neurons.py [--out FOLDER]

A neuron gives activation(w0 + w1 x1 + ... + wm xm). The step neuron with the weights (-1.5, 1, 1) is AND, with
(-0.5, 1, 1) OR, with (-(R - 0.5), 1, ..., 1) the AND of R inputs. No weights give exclusive or (Minsky and Papert,
"Perceptrons", 1969); OR and NAND with an AND behind them do. The folder gets ``neurons.png`` and ``numbers.json``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from common import finish, folder

import nnlab
from nnlab import figures
from nnlab.classic.neuron import and_weights, neurons, or_weights, piecewise_linear, sigmoid, step, xor

COLOURS = ("#4c78a8", "#e45756", "#54a24b", "#b279a2")
CORNERS = np.array(list(itertools.product((0.0, 1.0), repeat=2)))
XOR = np.array([0.0, 1, 1, 0])
STEEPNESSES = (0.5, 1.0, 4.0, 100.0)


def best_single_neuron() -> int:
    """How many of the four rows of exclusive or the best of 41^3 step neurons, -2 .. 2 in steps of 0.1, has right."""
    values = np.arange(-20, 21) / 10
    w = np.stack(np.meshgrid(values, values, values), -1).reshape(-1, 3)
    answers = neurons(nnlab.tensor(CORNERS), nnlab.tensor(w)).numpy()  # (4, number of neurons)
    return int((answers == XOR[:, None]).sum(0).max())


def gate(weights: nnlab.Tensor) -> Callable[[nnlab.Tensor], nnlab.Tensor]:
    return lambda x: neurons(x, weights.to(dtype=x.dtype))


GATES = {"AND": gate(and_weights()), "OR": gate(or_weights()), "XOR, two layers": xor}


def check(tables: dict[str, list[float]], best: int) -> None:
    assert tables["AND"] == [0, 0, 0, 1]
    assert tables["OR"] == [0, 1, 1, 1]
    assert tables["XOR, two layers"] == [0, 1, 1, 0]
    assert best == 3
    for inputs in range(1, 11):  # the R-input gates on all 2^R inputs
        x = np.array(list(itertools.product((0.0, 1.0), repeat=inputs)))
        assert (gate(and_weights(inputs))(nnlab.tensor(x)).numpy() == x.all(1)).all()
        assert (gate(or_weights(inputs))(nnlab.tensor(x)).numpy() == x.any(1)).all()
    u = nnlab.linspace(-6, 6, 1201, dtype=nnlab.float64)
    np.testing.assert_allclose((2 * sigmoid(2 * u) - 1).numpy(), np.tanh(u.numpy()), atol=1e-15)
    # The straight pieces stay within 1 / (1 + e^2) of the sigmoid; a steep sigmoid is a step but next to 0.
    gap = abs(sigmoid(u) - piecewise_linear(u)).max().item()
    assert abs(gap - 1 / (1 + np.exp(2))) < 1e-12  # at u = 2
    away = u[abs(u) >= 0.1]
    assert abs(sigmoid(away, 100.0) - step(away)).max().item() < 1e-4


def draw(tables: dict[str, list[float]]) -> Any:
    figure, axes = figures.subplots(12, 7.6, 2, 3, purpose="drawing the neurons")
    u = nnlab.linspace(-6, 6, 1201)
    soft, hard, bipolar = axes[0]
    for steepness, colour in zip(STEEPNESSES, COLOURS, strict=True):
        soft.plot(u.numpy(), sigmoid(u, steepness).numpy(), color=colour, label=f"$\\lambda$ = {steepness:g}")
    soft.set_title("sigmoid: 1 / (1 + exp(-$\\lambda$u))")
    hard.plot(u.numpy(), sigmoid(u).numpy(), color="0.7", label="sigmoid")
    hard.plot(u.numpy(), piecewise_linear(u).numpy(), color=COLOURS[0], label="piecewise linear")
    hard.plot(u.numpy(), step(u).numpy(), color=COLOURS[1], label="step")
    hard.set_title("hard versions")
    bipolar.plot(u.numpy(), nnlab.tanh(u).numpy(), color=COLOURS[0], label="tanh u")
    bipolar.plot(u.numpy(), (2 * sigmoid(2 * u) - 1).numpy(), "--", color=COLOURS[1], label="2 sigmoid(2u) - 1")
    bipolar.set_title("bipolar")
    for plane in axes[0]:
        plane.set_xlabel("weighted sum u")
        plane.legend(fontsize=9, loc="upper left")
        plane.grid(alpha=0.25)
        plane.spines[["top", "right"]].set_visible(False)
    side = np.linspace(-0.5, 1.5, 301)
    grid = np.stack(np.meshgrid(side, side), -1)
    for plane, (name, function) in zip(axes[1], GATES.items(), strict=True):
        plane.contourf(side, side, function(nnlab.tensor(grid)).numpy(), levels=[-0.5, 0.5, 1.5],
                       colors=["#f3dcdc", "#d5e3f0"])  # fmt: skip
        for corner, value in zip(CORNERS, tables[name], strict=True):
            plane.plot(*corner, "o", markersize=24, color=COLOURS[0] if value else COLOURS[1])
            plane.text(*corner, f"{value:.0f}", color="white", ha="center", va="center", fontsize=13)
        plane.set(title=name, xlabel="$x_1$", ylabel="$x_2$", aspect="equal", xticks=(0, 1), yticks=(0, 1))
    return figure


def main(arguments: list[str] | None = None) -> None:
    out = folder("neurons", __doc__, arguments)
    tables = {name: function(nnlab.tensor(CORNERS)).tolist() for name, function in GATES.items()}
    best = best_single_neuron()
    print("x1 x2" + "".join(f"{name:>17}" for name in tables))
    for row, (a, b) in enumerate(CORNERS):
        print(f"{a:2.0f} {b:2.0f}" + "".join(f"{table[row]:17.0f}" for table in tables.values()))
    print(f"the best of 41^3 single neurons has {best} of the 4 rows of XOR right")
    check(tables, best)
    finish(out, {"neurons": draw(tables)}, {**tables, "rows of XOR by one neuron": best})


if __name__ == "__main__":
    main()
