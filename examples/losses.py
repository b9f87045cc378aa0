"""Why cross-entropy and not squared errors for classes, and what weights do where a class is rare.

    python examples/losses.py [--out FOLDER]

First a neuron sigmoid(w x + b) that shall give 0 for x = 1: from w = 0.6, b = 0.9 (case A) the squared error brings it
down at once, from w = b = 2 (case B), where it is more wrong, it hardly moves for a hundred steps, because the slope of
the sigmoid is small there. The gradient of the cross-entropy has no such factor. Then two pixel-wise losses: thin lines
in noise, one pixel in twelve, are found by a small network whose loss counts each pixel alike, and by one whose loss
weighs both classes alike. The folder gets ``slow_start.png``, ``pixels.png`` and ``numbers.json``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from common import finish, folder

import nnlab
from nnlab import figures, nn, optim
from nnlab.nn import functional as F
from nnlab.random import host_generator

CASES = {"A": (0.6, 0.9), "B": (2.0, 2.0)}
LOSSES = ("squared error", "cross-entropy")
COLOURS = {"squared error": "#e45756", "cross-entropy": "#4c78a8"}
SIZE = 24


def neuron(case: str, loss: str) -> list[float]:
    """Output before each of 300 steps at rate 0.15, and after the last."""
    w, b = (nnlab.tensor(v, dtype=nnlab.float64, requires_grad=True) for v in CASES[case])
    target = nnlab.tensor(0.0, dtype=nnlab.float64)
    optimizer, outputs = optim.SGD([w, b], lr=0.15), []
    for _ in range(301):
        y = (w * 1.0 + b).sigmoid()
        outputs.append(y.item())
        optimizer.zero_grad()
        (F.mse_loss(y, target) / 2 if loss == "squared error" else F.binary_cross_entropy(y, target)).backward()
        optimizer.step()
    return outputs


def slopes(loss: str, z: np.ndarray) -> np.ndarray:
    """Gradient of the loss with respect to the weighted sum z, for target 0."""
    leaf = nnlab.tensor(z, requires_grad=True)
    y, target = leaf.sigmoid(), nnlab.zeros(len(z), dtype=nnlab.float64)
    if loss == "squared error":
        total = F.mse_loss(y, target, reduction="sum") / 2
    else:
        total = F.binary_cross_entropy(y, target, reduction="sum")
    (slope,) = nnlab.grad(total, leaf)
    return slope.numpy()


def lines(count: int, seed: int) -> tuple[nnlab.Tensor, nnlab.Tensor]:
    """Pictures (N, 1, 24, 24) of a bright line in noise, and the class of each pixel (N, 24, 24): 1 on the line."""
    random = host_generator(seed)
    v, u = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    angle, offset = random.uniform(0, np.pi, count), random.uniform(-6, 6, count)
    distance = np.cos(angle)[:, None, None] * u + np.sin(angle)[:, None, None] * v - offset[:, None, None]
    on = np.abs(distance) < 0.9
    pictures = on + 0.8 * random.standard_normal(on.shape)
    return nnlab.tensor(pictures[:, None]).float(), nnlab.tensor(on.astype(np.int64))


def segment(weight: nnlab.Tensor | None) -> tuple[nn.Module, dict[str, float]]:
    """A network trained on pixels with these weights of the classes; its recall and precision on new pictures."""
    nnlab.manual_seed(2)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 2, 1)
    )
    optimizer = optim.Adam(net.parameters(), lr=0.01)
    for step in range(60):
        x, target = lines(16, 10 + step)
        optimizer.zero_grad()
        F.cross_entropy(net(x), target, weight).backward()
        optimizer.step()
    x, target = lines(100, 1)
    with nnlab.no_grad():
        found = (net(x).argmax(1) == 1).numpy()
    on = target.numpy() == 1
    hits = (found & on).sum()
    return net, {"recall": float(hits / on.sum()), "precision": float(hits / found.sum())}


def best_guess(share: float, weight: tuple[float, float]) -> float:
    """Probability of class 1 that the weighted loss prefers for all pixels, if it sees nothing: found by descent."""
    target = nnlab.tensor([0] * round(100 * (1 - share)) + [1] * round(100 * share)).reshape(1, 100)
    bias = nnlab.zeros(2, dtype=nnlab.float64, requires_grad=True)
    weights, optimizer = nnlab.tensor(weight, dtype=nnlab.float64), optim.SGD([bias], lr=1.0)
    for _ in range(200):
        optimizer.zero_grad()
        scores = nnlab.zeros(1, 2, 100, dtype=nnlab.float64) + bias.reshape(1, 2, 1)
        F.cross_entropy(scores, target, weights).backward()
        optimizer.step()
    return F.softmax(bias.detach(), 0)[1].item()


def check(outputs: dict[str, dict[str, list[float]]], found: dict[str, dict[str, float]]) -> None:
    z = np.array([1.5, 4.0])  # w + b of both cases
    y = 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(slopes("squared error", z), y * y * (1 - y), rtol=1e-12)
    np.testing.assert_allclose(slopes("cross-entropy", z), y, rtol=1e-12)
    squared, entropy = outputs["squared error"], outputs["cross-entropy"]
    assert [round(squared[case][i], 2) for case in "AB" for i in (0, 300)] == [0.82, 0.09, 0.98, 0.20]
    # In case B half of the way takes the squared error a hundred and more steps, the cross-entropy about a dozen.
    halfway = {loss: int(np.argmax(np.array(row["B"]) < 0.5)) for loss, row in outputs.items()}
    assert halfway["squared error"] > 100 and halfway["cross-entropy"] < 20, halfway
    assert entropy["B"][300] < squared["B"][300] / 5
    # What all pixels are called if nothing is seen: the weighted share.
    assert abs(best_guess(0.1, (1.0, 1.0)) - 0.1) < 1e-6
    assert abs(best_guess(0.1, (1 / 0.9, 1 / 0.1)) - 0.5) < 1e-6
    alike, weighted = found["each pixel alike"], found["both classes alike"]
    assert weighted["recall"] > alike["recall"] + 0.1 and weighted["precision"] < alike["precision"]


def draw_start(outputs: dict[str, dict[str, list[float]]]) -> Any:
    figure, axes = figures.subplots(15, 4.4, 1, 3, purpose="drawing the losses")
    for loss, axis in zip(LOSSES, axes[0], strict=False):
        for case, style in (("A", "-"), ("B", "--")):
            axis.plot(outputs[loss][case], style, color=COLOURS[loss], label=f"case {case}: w, b = {CASES[case]}")
        axis.set(title=f"Sigmoid and {loss}", xlabel="Step", ylabel="Output (wanted: 0)", ylim=(0, 1.02))
        axis.legend()
    axis, z = axes[0][2], np.linspace(-6, 6, 200)
    for loss in LOSSES:
        axis.plot(z, slopes(loss, z), color=COLOURS[loss], label=loss)
        axis.plot([1.5, 4], slopes(loss, np.array([1.5, 4.0])), "o", color=COLOURS[loss])
    axis.annotate("A", (1.5, 0.16), ha="center")
    axis.annotate("B", (4, 0.06), ha="center")
    axis.set(title="Gradient with respect to w x + b", xlabel="w x + b")
    axis.legend()
    return figure


def draw_pixels(nets: dict[str, nn.Module], found: dict[str, dict[str, float]]) -> Any:
    figure, axes = figures.subplots(12, 6.5, 2, 4, purpose="drawing the pixels")
    x, target = lines(2, 3)
    for row in range(2):
        pictures = {"picture": x[row, 0].numpy(), "wanted": target[row].numpy()}
        for name, net in nets.items():
            with nnlab.no_grad():
                pictures[name] = F.softmax(net(x[row : row + 1]), 1)[0, 1].numpy()
        for axis, (name, picture) in zip(axes[row], pictures.items(), strict=True):
            axis.imshow(picture, cmap="gray", **({} if name == "picture" else {"vmin": 0, "vmax": 1}))
            axis.set(xticks=(), yticks=())
            if row == 0 and name in found:
                name = f"{name}\nrecall {found[name]['recall']:.0%}, precision {found[name]['precision']:.0%}"
            if row == 0:
                axis.set_title(name, fontsize=11)
    return figure


def main(arguments: list[str] | None = None) -> None:
    out = folder("losses", __doc__, arguments)
    outputs = {loss: {case: neuron(case, loss) for case in CASES} for loss in LOSSES}
    share = lines(200, 0)[1].float().mean().item()
    weight = nnlab.tensor([1 / (1 - share), 1 / share])
    results = {"each pixel alike": segment(None), "both classes alike": segment(weight)}
    nets = {name: net for name, (net, _) in results.items()}
    found = {name: numbers for name, (_, numbers) in results.items()}
    print(f"{'output':16}{'case A: 0':>10}{'50':>6}{'300':>6}{'case B: 0':>12}{'50':>6}{'300':>6}")
    for loss, rows in outputs.items():
        a, b = (([row[i] for i in (0, 50, 300)]) for row in rows.values())
        print(f"{loss:16}{a[0]:>10.2f}{a[1]:>6.2f}{a[2]:>6.2f}{b[0]:>12.2f}{b[1]:>6.2f}{b[2]:>6.2f}")
    for name, numbers in found.items():
        print(f"{name}: recall {numbers['recall']:.1%}, precision {numbers['precision']:.1%} ({share:.1%} are lines)")
    check(outputs, found)
    pictures = {"slow_start": draw_start(outputs), "pixels": draw_pixels(nets, found)}
    finish(out, pictures, {"outputs": outputs, "pixels": found})


if __name__ == "__main__":
    main()
