"""How far back a gradient reaches: it vanishes or explodes in simple RNNs; gates keep it, clipping bounds it.

    python examples/gradients_through_time.py [--out FOLDER]

Upper row: |dL/d state_{T-k}| for L = v . state_T, |v| = 1, at distances k up to 100, of 32 units.

- A tanh RNN at rest (no input, h = 0), where each step back multiplies by W_hh alone: rho^k for rho times an orthogonal
  matrix, in the long run for any matrix of spectral radius rho.
- The same driven by noise: the slope of tanh, below 1, damps it, so a radius above 1 need not explode.
- Gated cells, whose memory is only multiplied by a gate: sigmoid(bias)^k, but for paths through the gates. These add to
  it in an LSTM that remembers (forget bias 5) while its input gate is half open; where what comes in is coupled to what
  goes, they do not.

Lower row: the sweep over the forget gate's bias; then an RNN (relu, W_hh = 1.1 times the identity at first) that learns
to remember one bit over 20 steps, with and without its gradient's norm clipped to 1, from five seeds each.

The folder gets ``gradients.png`` and ``numbers.json``. What theory says is asserted.

Sources: Bengio, Simard and Frasconi, "Learning long-term dependencies with gradient descent is difficult", IEEE
Transactions on Neural Networks 1994; Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural
networks", ICML 2013; Gers, Schmidhuber and Cummins, "Learning to forget", Neural Computation 2000; Le, Jaitly and
Hinton, "A simple way to initialize recurrent networks of rectified linear units", arXiv:1504.00941.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from common import finish, folder

import nnlab
from nnlab import figures, nn, optim

UNITS, FEATURES, SEQUENCES, REACH = 32, 4, 16, 100
REST = (0.9, 1.0, 1.1)
DRIVEN = (0.9, 1.0, 1.1, 1.5, 2.0)
GATES: dict[str, tuple[str, float]] = {  # the cell and its gate's bias
    "LSTM, forget bias 0": ("lstm", 0.0),
    "LSTM, forget bias 1": ("lstm", 1.0),
    "LSTM, forget bias 5": ("lstm", 5.0),
    "Coupled LSTM, input bias −5": ("coupled", -5.0),
    "GRU, update bias 0": ("gru", 0.0),
    "GRU, update bias 5": ("gru", 5.0),
}
SWEEP = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
SEEDS, STEPS, LENGTH, CLIP = range(5), 120, 20, 1.0
COLOURS = ("#4c78a8", "#54a24b", "#f58518", "#e45756", "#b279a2", "#72b7b2")


def norms(cell: nn.Module, x: np.ndarray) -> np.ndarray:
    """(REACH + 1,): the gradient to the state at each distance, its norm's geometric mean over the sequences.

    L reads c of an LSTM, h of others; the norm is that of all of the state.
    """
    zeros = np.zeros((SEQUENCES, UNITS))
    parts = 2 if isinstance(cell, nn.LSTMCell) else 1
    states = [tuple(nnlab.tensor(zeros, requires_grad=True) for _ in range(parts))]
    for step in nnlab.tensor(x):
        after = cell(step, states[-1] if parts == 2 else states[-1][0])
        states.append(after if parts == 2 else (after,))
    v = np.random.default_rng(1).standard_normal((SEQUENCES, UNITS))
    loss = (states[-1][-1] * nnlab.tensor(v / np.linalg.norm(v, axis=1, keepdims=True))).sum()
    found = nnlab.grad(loss, [part for state in states for part in state], allow_unused=True)
    squares = [np.zeros(SEQUENCES) if g is None else (g.numpy() ** 2).sum(axis=1) for g in found]
    by_state = np.stack(squares).reshape(len(states), parts, SEQUENCES).sum(axis=1)
    return np.exp(np.log(by_state[::-1]).mean(axis=1) / 2)


def noise() -> np.ndarray:
    return np.random.default_rng(2).standard_normal((REACH, SEQUENCES, FEATURES))


def rnn_cell(rho: float, orthogonal: bool = True) -> nn.Module:
    """Spectral radius rho; without biases."""
    nnlab.manual_seed(0)
    cell = nn.RNNCell(FEATURES, UNITS, bias=False, dtype="float64")
    w = np.random.default_rng(3).standard_normal((UNITS, UNITS))
    w = np.linalg.qr(w)[0] if orthogonal else w / np.abs(np.linalg.eigvals(w)).max()
    with nnlab.no_grad():
        cell.weight_hh.copy_(nnlab.tensor(rho * w))
    return cell


def gated_cell(kind: str, bias: float, input_bias: float = 0.0, scale: float = 1.0) -> nn.Module:
    """Weights as they are drawn by default, times ``scale``; all biases 0 but that of the gate, and of an LSTM's i."""
    nnlab.manual_seed(0)
    make = nn.GRUCell if kind == "gru" else nn.LSTMCell
    options = {"coupled": True} if kind == "coupled" else {}
    cell = make(FEATURES, UNITS, dtype="float64", **options)
    block = 0 if kind == "coupled" else 1  # i of i, g, o; f of i, f, g, o; z of r, z, n
    with nnlab.no_grad():
        for param in cell.parameters():
            param.mul_(scale if param.ndim == 2 else 0)
        cell.bias_ih[:UNITS].fill_(input_bias)
        cell.bias_ih[block * UNITS : (block + 1) * UNITS].fill_(bias)
    return cell


def sigmoid(v: float) -> float:
    return 1 / (1 + math.exp(-v))


def kept(kind: str, bias: float) -> float:
    """What is kept of the memory at each step, weights apart."""
    return sigmoid(-bias if kind == "coupled" else bias)


def train(seed: int, clip: float) -> tuple[list[float], list[float]]:
    """(losses, norms of the gradient before it is clipped) of an RNN that learns the first bit of noise."""
    nnlab.manual_seed(seed)
    random = np.random.default_rng(seed)
    rnn = nn.RNN(2, 16, nonlinearity="relu", dtype="float64")
    head = nn.Linear(16, 1, dtype="float64")
    with nnlab.no_grad():
        rnn.weight_hh_l0.copy_(1.1 * nnlab.eye(16))
        for bias in (rnn.bias_ih_l0, rnn.bias_hh_l0):
            bias.zero_()
    params = [*rnn.parameters(), *head.parameters()]
    optimizer = optim.SGD(params, lr=0.01, momentum=0.9)
    losses, sizes = [], []
    for _ in range(STEPS):
        bits = random.integers(0, 2, 32)
        x = np.stack([random.uniform(-1, 1, (LENGTH, 32)), np.zeros((LENGTH, 32))], -1)
        x[0, :, 0], x[0, :, 1] = 2 * bits - 1, 1  # the bit, and a mark
        logits = head(rnn(nnlab.tensor(x))[0][-1])[:, 0]
        loss = nn.functional.binary_cross_entropy_with_logits(logits, nnlab.tensor(bits.astype(np.float64)))
        optimizer.zero_grad()
        loss.backward()
        sizes.append(nn.utils.clip_grad_norm_(params, clip).item())
        optimizer.step()
        losses.append(loss.item())
    return losses, sizes


def measure() -> dict[str, Any]:
    """All curves by name, (REACH + 1,) each, and the two rows of the sweep."""
    x = noise()
    return {
        "orthogonal": {rho: norms(rnn_cell(rho), 0 * x) for rho in REST},
        "any matrix": {rho: norms(rnn_cell(rho, orthogonal=False), 0 * x) for rho in REST},
        "driven": {rho: norms(rnn_cell(rho), x) for rho in DRIVEN},
        "gated": {name: norms(gated_cell(*gate), x) for name, gate in GATES.items()},
        "gates alone": {name: norms(gated_cell(*gate, scale=0), x) for name, gate in GATES.items()},
        "sweep": {i: [norms(gated_cell("lstm", bias, i), x)[-1] for bias in SWEEP] for i in (0.0, -5.0)},
    }


def check(found: dict[str, Any]) -> None:
    """What theory says."""
    k = np.arange(REACH + 1)
    for rho in REST:
        np.testing.assert_allclose(found["orthogonal"][rho], rho**k, rtol=1e-10)
        late = found["any matrix"][rho][[REACH // 2, REACH]]
        np.testing.assert_allclose((late[1] / late[0]) ** (2 / REACH), rho, rtol=1e-4)
    # |diag(1 - h^2) W| <= rho: below the line of the network at rest. Below 1 it must vanish, above it may not explode.
    for rho, curve in found["driven"].items():
        assert (curve <= rho**k * (1 + 1e-12)).all(), rho
    assert found["driven"][1.1][-1] < 0.01 and found["driven"][2.0][-1] > 1e3
    for name, gate in GATES.items():
        np.testing.assert_allclose(found["gates alone"][name], kept(*gate) ** k, rtol=1e-12)
    gated = {name: curve[-1] for name, curve in found["gated"].items()}
    for name in ("Coupled LSTM, input bias −5", "GRU, update bias 5"):
        np.testing.assert_allclose(gated[name], kept(*GATES[name]) ** REACH, rtol=0.05)
    assert gated["LSTM, forget bias 0"] < 1e-15 < gated["LSTM, forget bias 1"] < 1e-6
    assert 0.5 < gated["LSTM, forget bias 5"] < 100
    for row in found["sweep"].values():
        assert row == sorted(row)
    # With the input gate shut, what remains of the sweep's far end is the forget gate's own.
    np.testing.assert_allclose(found["sweep"][-5.0][-2:], [sigmoid(b) ** REACH for b in SWEEP[-2:]], rtol=0.05)


def check_training(runs: dict[str, list[tuple[list[float], list[float]]]]) -> None:
    """Without clipping no seed gets away from guessing, log 2; with it all learn, though the same norms occur."""
    for plain, clipped in zip(runs["plain"], runs["clipped"], strict=True):
        assert max(plain[1]) > 10 * CLIP and max(clipped[1]) > 10 * CLIP
        assert max(plain[0]) > max(clipped[0])
        assert np.median(plain[0][-20:]) > 0.6
        assert np.median(clipped[0][-20:]) < 0.01


def draw(found: dict[str, Any], runs: dict[str, list[tuple[list[float], list[float]]]]) -> Any:
    figure, ((rest, driven, gated), (sweep, losses, sizes)) = figures.subplots(
        15, 8.6, 2, 3, purpose="drawing the gradients"
    )
    k = np.arange(REACH + 1)
    for rho, colour in zip(REST, COLOURS, strict=False):
        rest.semilogy(k, found["orthogonal"][rho], color=colour, linewidth=2, label=f"radius {rho}, orthogonal")
        rest.semilogy(k, found["any matrix"][rho], "--", color=colour, label=f"radius {rho}, any matrix")
    for rho, colour in zip(DRIVEN, COLOURS, strict=False):
        driven.semilogy(k, found["driven"][rho], color=colour, linewidth=2, label=f"radius {rho}")
    for (name, gate), colour in zip(GATES.items(), COLOURS, strict=True):
        style = "--" if gate[0] == "gru" else "-"
        gated.semilogy(k, found["gated"][name], style, color=colour, linewidth=2, label=name)
        gated.semilogy(k, kept(*gate) ** k, ":", color=colour)
    rest.set(title="Tanh RNN at rest: radius$^k$", ylabel="|gradient| at distance $k$")
    driven.set(title="Tanh RNN driven by noise")
    gated.set(title="Gated cells (dotted: the gate alone)")
    for plane in (rest, driven, gated):
        plane.set(xlabel="Distance $k$ in steps", xlim=(0, REACH))
        plane.legend(fontsize=8, framealpha=0.9)
    driven.set_ylim(1e-9, 1e6)
    gated.set_ylim(1e-10, 1e3)
    theory = np.linspace(SWEEP[0], SWEEP[-1], 100)
    sweep.semilogy(theory, [sigmoid(b) ** REACH for b in theory], ":", color="black", label="the forget gate alone")
    for (bias, row), colour in zip(found["sweep"].items(), COLOURS, strict=False):
        sweep.semilogy(SWEEP, row, "o-", color=colour, label=f"LSTM, input bias {bias:.0f}".replace("-", "−"))
    sweep.set(title=f"LSTM: the gradient {REACH} steps back", xlabel="Bias of the forget gate", ylabel="|gradient|")
    sweep.legend(fontsize=8)
    for (name, label), colour in zip((("plain", "not clipped"), ("clipped", "clipped to 1")), ("#e45756", "#4c78a8")):
        for number, (loss, size) in enumerate(runs[name]):
            named = label if number == 0 else None
            losses.plot(loss, color=colour, linewidth=1.2, alpha=0.8, label=named)
            sizes.semilogy(np.maximum(size, 1e-4), color=colour, linewidth=1.2, alpha=0.8, label=named)
    losses.axhline(math.log(2), color="black", linestyle=":", label="guessing")
    sizes.axhline(CLIP, color="black", linestyle=":", label="the limit")
    losses.set(title="Remembering a bit, RNN, five seeds", ylabel="Loss", ylim=(0, 4))
    sizes.set(title="Gradient before clipping", ylabel="|gradient|", ylim=(1e-4, 1e5))
    for plane in (losses, sizes):
        plane.set(xlabel="Training steps", xlim=(0, STEPS))
        plane.legend(fontsize=8, loc="upper right")
    for plane in figure.axes:
        plane.grid(alpha=0.25)
        plane.spines[["top", "right"]].set_visible(False)
    return figure


def main(arguments: list[str] | None = None) -> None:
    out = folder("gradients-through-time", __doc__, arguments)
    found = measure()
    far = {f"RNN at rest, radius {rho}": (found["orthogonal"][rho][-1], rho**REACH) for rho in REST}
    far |= {f"RNN driven, radius {rho}": (found["driven"][rho][-1], rho**REACH) for rho in DRIVEN}
    far |= {name: (found["gated"][name][-1], kept(*gate) ** REACH) for name, gate in GATES.items()}
    print(f"{f'gradient {REACH} steps back':30}{'measured':>12}{'radius or gate alone':>24}")
    for name, (measured, theory) in far.items():
        print(f"{name:30}{measured:12.2g}{theory:24.2g}")
    check(found)
    runs = {name: [train(seed, clip) for seed in SEEDS] for name, clip in (("plain", math.inf), ("clipped", CLIP))}
    print(f"{'training, a row a seed':30}{'largest loss':>12}{'last':>12}{'largest gradient':>20}")
    for name, trained in runs.items():
        for loss, size in trained:
            print(f"{name:30}{max(loss):12.3g}{np.median(loss[-20:]):12.2g}{max(size):20.3g}")
    check_training(runs)
    ends = {name: [float(np.median(loss[-20:])) for loss, _ in trained] for name, trained in runs.items()}
    finish(out, {"gradients": draw(found, runs)}, {"far": far, "sweep": found["sweep"], "last losses": ends})


if __name__ == "__main__":
    main()
