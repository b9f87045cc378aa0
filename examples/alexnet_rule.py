"""How AlexNet was trained: its rule, its batches and its falling rate, here on the digits.

    python examples/alexnet_rule.py [--out FOLDER]

Momentum 0.9, weight decay 0.0005, batches of 128, a rate of 0.01 that is divided by 10 when the validation error has
stopped improving. The second panel follows the paper's own formula, v <- 0.9 v - 0.0005 e w - e g, w <- w + v, beside
``SGD`` on the same batches: they part at the first division, because the paper's velocity keeps its length there and
SGD's is divided too, and do not part if ``descent.keep_velocity`` makes up for it. The folder gets ``training.png`` and
``numbers.json``.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from common import finish, folder

import nnlab
from nnlab import figures, nn
from nnlab.classic import descent
from nnlab.data import DataLoader, TensorDataset, load
from nnlab.nn import functional as F

EPOCHS, PATIENCE = 40, 4
CHANGE = 20  # the update at which the rate is divided in the comparison of formulas


def data() -> tuple[tuple[nnlab.Tensor, nnlab.Tensor], tuple[nnlab.Tensor, nnlab.Tensor]]:
    """Training and validation digits, minus the training part's mean image, over its standard deviation."""
    sets = [load("digits", train=train) for train in (True, False)]
    (x, target), (vx, vtarget) = (next(iter(DataLoader(d, len(d)))) for d in sets)
    mean, std = x.mean(0, keepdim=True), x.std()
    return ((x - mean) / std, target), ((vx - mean) / std, vtarget)


def network() -> nn.Sequential:
    nnlab.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(24 * 16, 10),
    )  # fmt: skip


def error_of(net: nn.Module, x: nnlab.Tensor, target: nnlab.Tensor) -> float:
    with nnlab.no_grad():
        return (net.eval()(x).argmax(1) != target).float().mean().item()


def train(part: Any, validation: Any) -> list[dict[str, float]]:
    """One line an epoch: rate, training loss, validation error."""
    net = network()
    optimizer, schedule = descent.alexnet_rule(net.named_parameters(), PATIENCE)
    loader, history = DataLoader(TensorDataset(*part), 128, shuffle=True, seed=0), []
    for _ in range(EPOCHS):
        rate, losses = optimizer.param_groups[0]["lr"], []
        net.train()
        for x, target in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), target)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        error = error_of(net, *validation)
        schedule.step(error)
        history.append({"rate": rate, "loss": float(np.mean(losses)), "error": error})
    return history


def follow(part: Any) -> dict[str, list[float]]:
    """Largest distance of each library path from the paper's, after each update, relative to the largest weight."""
    x, target = (t[:128] for t in part)
    x = x.double()
    start = network().double().eval()
    paths: dict[str, list[np.ndarray]] = {}
    for way in ("the paper's formula", "SGD", "SGD and keep_velocity"):
        net = copy.deepcopy(start)
        optimizer, _ = descent.alexnet_rule(net.parameters())
        velocity = [np.zeros(tuple(p.shape)) for p in net.parameters()]
        paths[way] = []
        for update in range(2 * CHANGE):
            if update == CHANGE:
                before, optimizer.param_groups[0]["lr"] = 0.01, 0.001
                if way == "SGD and keep_velocity":
                    descent.keep_velocity(optimizer, before)
            rate = optimizer.param_groups[0]["lr"]
            optimizer.zero_grad()
            F.cross_entropy(net(x), target).backward()
            if way == "the paper's formula":
                for p, v in zip(net.parameters(), velocity, strict=True):
                    w = p.detach().numpy()
                    v[...] = 0.9 * v - 0.0005 * rate * w - rate * p.grad.numpy()
                    w += v
            else:
                optimizer.step()
            paths[way].append(nn.utils.parameters_to_vector(net.parameters()).detach().numpy())
    truth = paths.pop("the paper's formula")
    size = np.abs(truth[-1]).max()
    return {way: [float(np.abs(a - b).max() / size) for a, b in zip(path, truth)] for way, path in paths.items()}


def check(history: list[dict[str, float]], apart: dict[str, list[float]]) -> None:
    assert max(apart["SGD"][:CHANGE]) < 1e-12
    assert min(apart["SGD"][CHANGE:]) > 1e-4
    assert max(apart["SGD and keep_velocity"]) < 1e-12
    # The rates that the rule gives for these validation errors, counted anew.
    rate, best, waited = 0.01, np.inf, 0
    for line in history:
        assert abs(line["rate"] - rate) < 1e-9 * rate
        if line["error"] < best * (1 - 1e-4):
            best, waited = line["error"], 0
        else:
            waited += 1
        if waited > PATIENCE:
            rate, waited = rate / 10, 0
    assert history[-1]["rate"] < 0.0011
    assert history[-1]["error"] < 0.03


def draw(history: list[dict[str, float]], apart: dict[str, list[float]]) -> Any:
    figure, axes = figures.subplots(13, 5, 1, 2, purpose="drawing the training")
    left, right = axes[0]
    epochs = np.arange(1, EPOCHS + 1)
    for name, label, colour in (
        ("loss", "Training loss", "#4c78a8"),
        ("error", "Validation error", "#e45756"),
        ("rate", "Rate", "0.4"),
    ):
        left.semilogy(epochs, [line[name] for line in history], color=colour, label=label, drawstyle="steps-mid")
    left.set(title="The digits under AlexNet's rule", xlabel="Epoch", xlim=(0, EPOCHS))
    left.legend()
    for (way, distances), colour in zip(apart.items(), ("#f58518", "#54a24b"), strict=True):
        right.semilogy(np.arange(1, 2 * CHANGE + 1), np.maximum(distances, 1e-18), ".-", color=colour, label=way)
    right.axvline(CHANGE + 0.5, color="0.6", linestyle="--")
    right.annotate("rate divided by 10", (CHANGE - 0.3, 1e-7), ha="right", color="0.4")
    right.set(title="Distance from the paper's formula, largest weight = 1", xlabel="Update", ylim=(1e-18, 10))
    right.legend(loc="upper left")
    return figure


def main(arguments: list[str] | None = None) -> None:
    out = folder("alexnet-rule", __doc__, arguments)
    part, validation = data()
    history, apart = train(part, validation), follow(part)
    print("epoch      rate  training loss  validation error")
    for epoch, line in enumerate(history, 1):
        if epoch in (1, EPOCHS) or line["rate"] != history[epoch - 2]["rate"]:
            print(f"{epoch:>5}{line['rate']:>10.1e}{line['loss']:>15.4f}{line['error']:>17.2%}")
    for way, distances in apart.items():
        print(f"{way}: {max(distances[:CHANGE]):.0e} from the paper's formula, after a division {distances[-1]:.0e}")
    check(history, apart)
    finish(out, {"training": draw(history, apart)}, {"history": history, "apart": apart})


if __name__ == "__main__":
    main()
