"""Choosing a model: cross-validation, search, a prior on the weights, early stopping; and what a network can memorise.

    python examples/model_selection.py [--out FOLDER]

Polynomials of a noisy sine show that the training error always falls with the degree, while k-fold and leave-one-out
cross-validation turn where the true error does, and that the maximum a posteriori estimate is ridge regression and what
gradient descent with weight decay finds. A multilayer perceptron on scikit-learn's digits (extra ``demo``), a quarter
of the labels random, is best after a few epochs; with random labels it learns them all (Zhang et al., "Understanding
deep learning requires rethinking generalization", 2017). The folder gets ``model_selection.png`` and ``numbers.json``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from common import finish, folder

import nnlab
from nnlab import data, figures, nn, optim
from nnlab.classic.model_selection import Candidate, cross_validate, ridge, search
from nnlab.data import DataLoader, TensorDataset
from nnlab.random import host_generator
from nnlab.train import Trainer
from nnlab.train.callbacks import Callback, EarlyStopping

SAMPLES, NOISE, PRIOR = 25, 0.25, 0.2  # deviations of the noise, and of the weights
DEGREES, HIGH = range(13), 12
GAMMAS = tuple(10.0**n for n in range(-5, 3))
GAMMA = (NOISE / PRIOR) ** 2
PATIENCE, EPOCHS = 8, 40
RED, BLUE, GREEN, VIOLET = "#e45756", "#4c78a8", "#54a24b", "#b279a2"
Fits = dict[str, np.ndarray]


# Polynomials.


def sine(x: np.ndarray) -> np.ndarray:
    return np.sin(1.2 * math.pi * x)


def basis(x: np.ndarray, degree: int) -> np.ndarray:
    """Legendre polynomials up to the degree, each multiplied so that its mean square over -1 .. 1 is 1."""
    return np.polynomial.legendre.legvander(x, degree) * np.sqrt(2 * np.arange(degree + 1) + 1)


def samples() -> tuple[nnlab.Tensor, nnlab.Tensor]:
    rng = host_generator(4)
    x = rng.uniform(-1, 1, SAMPLES)
    return nnlab.tensor(x), nnlab.tensor(sine(x) + rng.normal(0, NOISE, SAMPLES))


class Polynomial:
    """Least squares with ``gamma * |w|^2``."""

    def __init__(self, x: nnlab.Tensor, target: nnlab.Tensor, degree: int, gamma: float = 0.0) -> None:
        self.degree = degree
        self.w = ridge(nnlab.tensor(basis(x.numpy(), degree)), target, gamma).numpy()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return basis(x, self.degree) @ self.w


def score(model: Polynomial, x: nnlab.Tensor, target: nnlab.Tensor) -> float:
    return -float(((model(x.numpy()) - target.numpy()) ** 2).mean())


def errors_by_degree() -> Fits:
    """Mean square errors of each degree: on the samples, cross-validated, and against the sine (with the noise)."""
    x, target = samples()
    dense = np.linspace(-1, 1, 1001)
    rows = []
    for degree in DEGREES:
        model = Polynomial(x, target, degree)

        def fit(a: nnlab.Tensor, b: nnlab.Tensor, degree: int = degree) -> Polynomial:
            return Polynomial(a, b, degree)

        five, one = (-cross_validate(x, target, fit, score, folds=k).mean() for k in (5, SAMPLES))
        true = ((model(dense) - sine(dense)) ** 2).mean() + NOISE**2
        rows.append((-score(model, x, target), five, one, true))
    return dict(zip(("training", "5-fold", "leave-one-out", "true"), np.array(rows).T, strict=True))


def descent(gamma: float, steps: int = 1000) -> np.ndarray:
    """Weights of gradient descent on half the squared error with ``weight_decay=gamma``, after each step."""
    x, target = samples()
    features = nnlab.tensor(basis(x.numpy(), HIGH))
    w = nn.Parameter(nnlab.zeros(HIGH + 1, dtype=nnlab.float64))
    largest = float(np.linalg.norm(features.numpy(), 2)) ** 2
    optimizer = optim.SGD([w], lr=1.9 / (largest + gamma), weight_decay=gamma)
    path = []
    for _ in range(steps):
        optimizer.zero_grad()
        (((features @ w - target) ** 2).sum() / 2).backward()
        optimizer.step()
        path.append(w.detach().numpy().copy())
    return np.array(path)


# Digits.


def digits(train: bool) -> tuple[np.ndarray, np.ndarray]:
    part = data.load("digits", train=train)
    images = np.stack([np.asarray(image, np.float32).reshape(-1) for image, _ in part])
    return images, np.array([label for _, label in part])


def perceptron() -> nn.Module:
    nnlab.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))


def loader(x: np.ndarray, labels: np.ndarray, batch: int, shuffle: bool) -> DataLoader:
    return DataLoader(TensorDataset(nnlab.tensor(x), nnlab.tensor(labels)), batch, shuffle=shuffle, seed=0)


def early(epochs: int, callbacks: list[Callback]) -> tuple[list[dict[str, Any]], int]:
    """300 digits, every fourth with a random label: the history, and the best epoch by validation."""
    (x, labels), held = digits(True), digits(False)
    x, labels = x[::4][:300], labels[::4][:300].copy()
    labels[::4] = host_generator(5).integers(0, 10, len(labels[::4]))
    model = perceptron()
    trainer = Trainer(model, optim.Adam(model.parameters(), lr=3e-3), loader(x, labels, 32, True),
                      loader(*held, 359, False), epochs=epochs, callbacks=callbacks)  # fmt: skip
    history = trainer.fit()
    assert trainer.best is not None
    return history, trainer.best["epoch"]


class UntilAllAreRight(Callback):
    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        if row["val_accuracy"] == 1:
            trainer.stop = "all are right"


def memorise(random_labels: bool) -> dict[str, Any]:
    """Train until all of 719 labels are learnt: the share of them by epoch, and what is right of the test images."""
    (x, labels), held = digits(True), digits(False)
    x, labels = x[::2], labels[::2]
    if random_labels:
        labels = host_generator(1).permutation(labels)
    model = perceptron()
    trainer = Trainer(model, optim.Adam(model.parameters(), lr=3e-3), loader(x, labels, 64, True),
                      loader(x, labels, 512, False), epochs=150, callbacks=[UntilAllAreRight()])  # fmt: skip
    training = [row["val_accuracy"] for row in trainer.fit()]
    with nnlab.no_grad():
        test = float((model(nnlab.tensor(held[0])).numpy().argmax(1) == held[1]).mean())
    return {"training": training, "test": test}


def check(errors: Fits, grid: list[Candidate], paths: Fits, stopped: Any, long: Any, labels: dict[str, Any]) -> None:
    # A higher degree contains the lower one: the training error falls. Cross-validation turns, and so does the truth.
    assert (np.diff(errors["training"]) <= 1e-12).all()
    for name, factor in (("5-fold", 2), ("leave-one-out", 2), ("true", 1.4)):
        assert 3 <= errors[name].argmin() <= 6, name
        assert errors[name][-1] > factor * errors[name].min(), name
    # Leave-one-out in closed form: an error divided by 1 - leverage.
    x, target = samples()
    q = np.linalg.qr(basis(x.numpy(), 5))[0]
    left = (target.numpy() - q @ (q.T @ target.numpy())) / (1 - (q * q).sum(1))
    assert abs(errors["leave-one-out"][5] - (left**2).mean()) < 1e-10
    # The search's best is not worse than the best degree without penalty.
    assert -grid[0].mean <= errors["5-fold"].min() + 1e-12
    # Gradient descent ends at the closed forms; the prior makes weights smaller.
    x_high = nnlab.tensor(basis(x.numpy(), HIGH))
    for name, gamma in (("maximum likelihood", 0.0), ("maximum a posteriori", GAMMA)):
        assert abs(paths[name][-1] - ridge(x_high, target, gamma).numpy()).max() < 1e-6, name
    assert np.linalg.norm(paths["maximum a posteriori"][-1]) < np.linalg.norm(paths["maximum likelihood"][-1])
    # Early stopping: the same run, ended PATIENCE epochs after its best one, before the loss on other images has risen.
    (history, best), (whole, _) = stopped, long
    assert len(history) == best + PATIENCE < len(whole)
    assert [row["train_loss"] for row in history] == [row["train_loss"] for row in whole[: len(history)]]
    assert whole[-1]["val_loss"] > 1.5 * min(row["val_loss"] for row in whole)
    assert whole[best - 1]["val_accuracy"] > whole[-1]["val_accuracy"] + 0.02
    # Random labels are learnt to the last one, and tell nothing of other images.
    assert labels["true"]["training"][-1] == labels["random"]["training"][-1] == 1
    assert labels["true"]["test"] > 0.95 and 0.04 < labels["random"]["test"] < 0.16


def draw(errors: Fits, grid: list[Candidate], paths: Fits, stopped: Any, long: Any, labels: dict[str, Any]) -> Any:
    figure, axes = figures.subplots(15, 8, 2, 4, purpose="drawing the choice of a model")
    degrees, table, fits, falls = axes[0]
    for (name, row), colour in zip(errors.items(), (BLUE, GREEN, VIOLET, RED), strict=True):
        degrees.semilogy(DEGREES, row, ".-", color=colour, label=name)
        degrees.plot(row.argmin(), row.min(), "*", color=colour, markersize=13)
    degrees.set(xlabel="degree", title="mean square error (least: star)", ylim=(0.005, 5))
    means = np.array([[next(-c.mean for c in grid if c.parameters == {"degree": d, "gamma": g}) for d in DEGREES]
                      for g in GAMMAS])  # fmt: skip
    shown = table.imshow(np.log10(means), origin="lower", aspect="auto", cmap="viridis_r", vmax=0)
    best = grid[0].parameters
    table.plot(best["degree"], GAMMAS.index(best["gamma"]), "*", color=RED, markersize=14)
    table.set(xlabel="degree", ylabel="gamma", title="search: log10 of the 5-fold error", yticks=range(len(GAMMAS)),
              yticklabels=[f"1e{round(math.log10(g))}" for g in GAMMAS])  # fmt: skip
    figure.colorbar(shown, ax=table, shrink=0.8)
    x, target = samples()
    side = np.linspace(-1, 1, 401)
    fits.plot(side, sine(side), "--", color="0.5", label="truth")
    fits.plot(x.numpy(), target.numpy(), "o", color="black", markersize=4)
    closed = {"maximum likelihood": 0.0, "maximum a posteriori": GAMMA}
    for (name, gamma), colour in zip(closed.items(), (BLUE, RED), strict=True):
        model = Polynomial(x, target, HIGH, gamma)
        fits.plot(side, model(side), color=colour, label=name)
        falls.semilogy(abs(paths[name] - model.w).max(1), color=colour, label=name)
    fits.set(title=f"degree {HIGH}", ylim=(-2.2, 2.6))
    falls.set(title="gradient descent's distance from both", xlabel="steps", ylim=(1e-15, 2))
    losses, shares, random, bars = axes[1]
    (_, best_epoch), (whole, _) = stopped, long
    for plane, what in ((losses, "loss"), (shares, "accuracy")):
        epochs = [row["epoch"] for row in whole]
        for part, colour in (("train", BLUE), ("val", RED)):
            plane.plot(epochs, [row[f"{part}_{what}"] for row in whole], color=colour,
                       label={"train": "training", "val": "validation"}[part])  # fmt: skip
        plane.axvline(best_epoch, color="0.3", linestyle="--", label="best epoch")
        plane.axvline(best_epoch + PATIENCE, color="0.3", linestyle=":", label="stopped")
        plane.set(title=f"a quarter of random labels: {what}", xlabel="epoch")
    for name, colour in (("true", BLUE), ("random", RED)):
        training = labels[name]["training"]
        random.plot(range(1, len(training) + 1), training, color=colour, label=f"{name} labels")
        bars.bar([f"{name} labels"], [labels[name]["test"]], color=colour, width=0.6)
    random.set(title="training labels learnt", xlabel="epoch", ylim=(0, 1.03))
    bars.axhline(0.1, color="black", linestyle=":")
    bars.set(title="then: test images right", ylim=(0, 1.03))
    for plane in (degrees, fits, falls, losses, shares, random):
        plane.legend(fontsize=8)
        plane.grid(alpha=0.25)
    return figure


def main(arguments: list[str] | None = None) -> None:
    out = folder("model-selection", __doc__, arguments)
    errors = errors_by_degree()
    print(f"{'degree':>6}" + "".join(f"{name:>15}" for name in errors))
    for degree in DEGREES:
        print(f"{degree:6}" + "".join(f"{row[degree]:15.3f}" for row in errors.values()))
    grid = search({"degree": list(DEGREES), "gamma": list(GAMMAS)}, *samples(), Polynomial, score)
    print(f"search: {grid[0].parameters}, 5-fold error {-grid[0].mean:.3f}")
    paths = {"maximum likelihood": descent(0.0), "maximum a posteriori": descent(GAMMA)}
    stopped, long = early(EPOCHS, [EarlyStopping(PATIENCE)]), early(EPOCHS, [])
    ends = [f"{rows[-1]['val_accuracy']:.1%}" for rows in (stopped[0][: stopped[1]], long[0])]
    print(
        f"early stopping: {ends[0]} of the validation images right after epoch {stopped[1]}, {ends[1]} after {EPOCHS}"
    )
    labels = {name: memorise(name == "random") for name in ("true", "random")}
    for name, row in labels.items():
        learnt = row["training"]
        print(f"{name} labels: {learnt[-1]:.1%} learnt in {len(learnt)} epochs, test {row['test']:.1%}")
    check(errors, grid, paths, stopped, long, labels)
    numbers = {
        "errors": {name: row.tolist() for name, row in errors.items()}, "search": grid[0].parameters,
        "best epoch": stopped[1], "labels": {n: {**r, "training": r["training"][-1]} for n, r in labels.items()},
    }  # fmt: skip
    finish(out, {"model_selection": draw(errors, grid, paths, stopped, long, labels)}, numbers)


if __name__ == "__main__":
    main()
