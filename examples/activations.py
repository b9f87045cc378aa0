"""Activation functions and their slopes, and how many units die under each in a network that starts badly.

    python examples/activations.py [--out FOLDER]

Three hidden layers of 40 units learn the digits. Their biases start at -1, so that some sums are below 0 for every
digit. A ReLU unit whose sum is negative for all samples has no slope anywhere: it is dead. In the first layer, whose
inputs do not change, it can never come back, and its weights stay as they are to the last bit; in the others it may,
if the layers below change. Leaky ReLU, ELU and softplus always have a slope. The folder gets ``functions.png``,
``dead.png`` and ``numbers.json``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from common import finish, folder

import nnlab
from nnlab import figures, nn, optim
from nnlab.classic import signals
from nnlab.data import DataLoader, TensorDataset, load
from nnlab.nn import functional as F
from nnlab.nn import init

Activation = Callable[[nnlab.Tensor], nnlab.Tensor]

FUNCTIONS: dict[str, Activation] = {
    "sigmoid": nnlab.sigmoid,
    "tanh": nnlab.tanh,
    "ReLU": F.relu,
    "softplus": F.softplus,
    "leaky ReLU": lambda x: F.leaky_relu(x, 0.1),
    "parametric ReLU, a = 0.25": lambda x: F.prelu(x, nnlab.tensor([0.25], dtype=x.dtype)),
    "ELU": F.elu,
    "SELU": F.selu,
    "ReLU6": F.relu6,
    "softmax of (x, 1, 0), first": lambda x: F.softmax(nnlab.stack([x, x * 0 + 1, x * 0]), 0)[0],
}
# Value and slope at 1 and -1 by the formulas of the notes (SELU: lambda = 1.0507, alpha = 1.6733).
E = math.exp(-1)
S = 1 / (1 + E)
SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772
KNOWN: dict[str, tuple[float, float, float, float]] = {
    "sigmoid": (S, 1 - S, S * (1 - S), S * (1 - S)),
    "tanh": (math.tanh(1), -math.tanh(1), 1 - math.tanh(1) ** 2, 1 - math.tanh(1) ** 2),
    "ReLU": (1, 0, 1, 0),
    "softplus": (math.log(1 + math.e), math.log(1 + E), S, 1 - S),
    "leaky ReLU": (1, -0.1, 1, 0.1),
    "parametric ReLU, a = 0.25": (1, -0.25, 1, 0.25),
    "ELU": (1, E - 1, 1, E),
    "SELU": (SCALE, SCALE * ALPHA * (E - 1), SCALE, SCALE * ALPHA * E),
    "ReLU6": (1, 0, 1, 0),
}
TRAINED = {"ReLU": "#e45756", "leaky ReLU": "#4c78a8", "ELU": "#54a24b", "softplus": "#b279a2"}
EPOCHS, RATE, BIAS = 20, 0.1, -1.0


def curve(function: Activation, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values and slopes."""
    leaf = nnlab.tensor(x, requires_grad=True)
    y = function(leaf)
    (slope,) = nnlab.grad(y.sum(), leaf)
    return y.detach().numpy(), slope.numpy()


class Net(nn.Module):
    """Three hidden layers with biases far below 0."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        self.hidden = nn.ModuleList([nn.Linear(64, 40), nn.Linear(40, 40), nn.Linear(40, 40)])
        self.out = nn.Linear(40, 10)
        for layer in self.hidden:
            init.kaiming_normal_(layer.weight, nonlinearity="relu")
            init.constant_(layer.bias, BIAS)

    def sums(self, x: nnlab.Tensor) -> list[nnlab.Tensor]:
        """What the activation is applied to in each hidden layer, and the output."""
        found = []
        for layer in self.hidden:
            found.append(layer(x))
            x = self.activation(found[-1])
        return [*found, self.out(x)]


def train(name: str) -> dict[str, Any]:
    """Share of dead units in each layer before the first epoch and after each; training error at the end."""
    nnlab.manual_seed(0)
    digits = load("digits")
    x, target = next(iter(DataLoader(digits, len(digits))))
    x = (x.flatten(1) - x.mean()) / x.std()
    net = Net(FUNCTIONS[name])

    def dead() -> list[np.ndarray]:
        with nnlab.no_grad():
            sums = net.sums(x)[:-1]
        return [signals.dead_units(net.activation, z).numpy() for z in sums]

    at_first, first = dead()[0], net.hidden[0].weight.detach().numpy().copy()
    shares = [[float(d.mean()) for d in dead()]]
    optimizer = optim.SGD(net.parameters(), lr=RATE)
    loader = DataLoader(TensorDataset(x, target), 128, shuffle=True, seed=0)
    for _ in range(EPOCHS):
        for batch, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(net.sums(batch)[-1], labels).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
        shares.append([float(d.mean()) for d in dead()])
    assert dead()[0][at_first].all()
    assert np.array_equal(net.hidden[0].weight.detach().numpy()[at_first], first[at_first])
    with nnlab.no_grad():
        error = (net.sums(x)[-1].argmax(1) != target).float().mean().item()
    return {"dead": shares, "error": error}


def check(runs: dict[str, dict[str, Any]]) -> None:
    for name, (up, down, slope_up, slope_down) in KNOWN.items():
        y, slope = curve(FUNCTIONS[name], np.array([1.0, -1.0]))
        np.testing.assert_allclose([*y, *slope], [up, down, slope_up, slope_down], rtol=1e-14, err_msg=name)
    relu = np.array(runs["ReLU"]["dead"])
    assert (np.diff(relu[:, 0]) >= 0).all()
    assert relu[0].mean() > 0.2 and relu[-1].mean() > 0.1
    for name in TRAINED:
        if name != "ReLU":
            assert not np.any(runs[name]["dead"]), name
            assert runs[name]["error"] < runs["ReLU"]["error"] / 2, name


def draw_functions() -> Any:
    figure, axes = figures.subplots(16, 6, 2, 5, sharex=True, purpose="drawing activations")
    x = np.linspace(-4, 8, 601)
    for axis, (name, function) in zip(axes.flat, FUNCTIONS.items(), strict=True):
        y, slope = curve(function, x)
        axis.axhline(0, color="0.8", linewidth=0.8)
        axis.axvline(0, color="0.8", linewidth=0.8)
        axis.plot(x, y, color="#4c78a8", label="value")
        axis.plot(x, slope, color="#e45756", label="slope")
        high = y.max() > 1.5
        axis.set(title=name, ylim=(-2.2, 7) if high else (-1.1, 1.1), xticks=(-4, 0, 4, 8))
    axes[0][0].legend(loc="lower right")
    return figure


def draw_dead(runs: dict[str, dict[str, Any]]) -> Any:
    figure, axes = figures.subplots(14, 4.4, 1, 3, sharey=True, purpose="drawing dead units")
    for layer, axis in enumerate(axes[0]):
        for name, run in runs.items():
            shares = 100 * np.array(run["dead"])[:, layer]
            label = f"{name} (error {run['error']:.1%})"
            axis.plot(shares, color=TRAINED[name], label=label, linestyle="-" if name == "ReLU" else "--")
        axis.set(title=f"Hidden layer {layer + 1}", xlabel="Epoch", ylim=(-3, 103), xticks=range(0, EPOCHS + 1, 5))
    axes[0][0].set_ylabel("Dead units, %")
    axes[0][2].legend()
    return figure


def main(arguments: list[str] | None = None) -> None:
    out = folder("activations", __doc__, arguments)
    runs = {name: train(name) for name in TRAINED}
    print(f"{'':14}{'dead at first':>20}{'dead at last':>20}{'training error':>16}")
    for name, run in runs.items():
        cells = ["".join(f"{share:>6.0%}" for share in run["dead"][i]) for i in (0, -1)]
        print(f"{name:14}{cells[0]:>20}{cells[1]:>20}{run['error']:>16.1%}")
    check(runs)
    finish(out, {"functions": draw_functions(), "dead": draw_dead(runs)}, runs)


if __name__ == "__main__":
    main()
