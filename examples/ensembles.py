"""Averaging networks lowers the error: ensembles of other first weights, and bagging, on the digits.

    python examples/ensembles.py [--out FOLDER]

Twelve small networks learn 300 of the digits, once each from other weights and in another order, once (bagging) also
from other draws of the samples; the other 1497 digits test them. The squared error of the averaged probabilities is,
to the last digits, the mean error of the members less their spread around the average (Krogh and Vedelsby, NIPS 1994),
so it cannot be worse than the mean. The folder gets ``ensembles.png`` and ``numbers.json``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from common import finish, folder

import nnlab
from nnlab import figures, nn, optim
from nnlab.classic import ensemble
from nnlab.data import DataLoader, TensorDataset
from nnlab.data.readers import read_digits
from nnlab.nn import functional as F

MEMBERS, TRAINING, EPOCHS = 12, 300, 25
COLOURS = {"other weights": "#4c78a8", "bagging": "#e45756"}


def data() -> tuple[nnlab.Tensor, nnlab.Tensor]:
    images, labels = read_digits()
    x = nnlab.tensor(images.reshape(-1, 64).astype(np.float32))
    return (x - x.mean()) / x.std(), nnlab.tensor(labels)


def member(x: nnlab.Tensor, target: nnlab.Tensor, seed: int) -> nn.Module:
    nnlab.manual_seed(seed)
    net = nn.Sequential(nn.Linear(64, 24), nn.Tanh(), nn.Linear(24, 10))
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    loader = DataLoader(TensorDataset(x, target), 50, shuffle=True, seed=seed)
    for _ in range(EPOCHS):
        for batch, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(net(batch), labels).backward()
            optimizer.step()
    return net


def measure(nets: list[nn.Module], x: nnlab.Tensor, target: nnlab.Tensor) -> dict[str, Any]:
    """Errors of each member and of the averages of the first 1, 2, ... of them."""
    truth = np.eye(10)[target.numpy()]
    with nnlab.no_grad():
        each = [ensemble.Ensemble([net])(x).numpy().astype(np.float64) for net in nets]
        averages = [ensemble.Ensemble(nets[: k + 1])(x).numpy().astype(np.float64) for k in range(len(nets))]

    def numbers(probabilities: list[np.ndarray]) -> dict[str, list[float]]:
        right = [p[np.arange(len(p)), target.numpy()] for p in probabilities]
        return {
            "error": [float((p.argmax(1) != target.numpy()).mean()) for p in probabilities],
            "squared": [float(((p - truth) ** 2).sum(1).mean()) for p in probabilities],
            "nll": [float(-np.log(p).mean()) for p in right],
        }

    spread = [float(np.mean([((p - a) ** 2).sum(1).mean() for p in each[: k + 1]])) for k, a in enumerate(averages)]
    return {"each": numbers(each), "average": numbers(averages), "spread": spread}


def check(results: dict[str, dict[str, Any]], fresh: list[float]) -> None:
    for name, result in results.items():
        each, average = result["each"], result["average"]
        count = np.arange(1, MEMBERS + 1)
        mean = {key: np.cumsum(values) / count for key, values in each.items()}
        np.testing.assert_allclose(average["squared"], mean["squared"] - result["spread"], rtol=1e-5, err_msg=name)
        assert (np.array(average["nll"]) <= mean["nll"] * (1 + 1e-6)).all(), name
        # And what it is done for: fewer digits are named wrongly.
        assert average["error"][-1] < 0.95 * mean["error"][-1], name
    # Bagging's members are worse and differ more.
    assert results["bagging"]["spread"][-1] > results["other weights"]["spread"][-1]
    # A draw leaves out 1/e of the samples; the share's variance is (1/e - 2/e^2) / n. Five deviations of the mean.
    deviation = math.sqrt((math.exp(-1) - 2 * math.exp(-2)) / (TRAINING * MEMBERS))
    assert abs(np.mean(fresh) - (1 - 1 / TRAINING) ** TRAINING) < 5 * deviation


def draw(results: dict[str, dict[str, Any]]) -> Any:
    figure, axes = figures.subplots(13, 4.8, 1, 2, purpose="drawing the errors")
    count = np.arange(1, MEMBERS + 1)
    for axis, key, title in zip(
        axes[0], ("error", "squared"), ("Test error, %", "Squared error of the probabilities"), strict=True
    ):
        scale = 100 if key == "error" else 1
        for name, result in results.items():
            each, average = (scale * np.array(result[part][key]) for part in ("each", "average"))
            axis.plot(count, each, ".", color=COLOURS[name], alpha=0.6, label=f"{name}: a member alone")
            axis.plot(count, average, "o-", color=COLOURS[name], label=f"{name}: average of the first")
        axis.set(title=title, xlabel="Member", xticks=count)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def main(arguments: list[str] | None = None) -> None:
    out = folder("ensembles", __doc__, arguments)
    x, target = data()
    order = nnlab.randperm(len(x), generator=nnlab.Generator(5)).numpy()
    chosen, rest = nnlab.tensor(order[:TRAINING]), nnlab.tensor(order[TRAINING:])
    part, test = (x[chosen], target[chosen]), (x[rest], target[rest])
    draws = [nnlab.tensor(indices) for indices in ensemble.bootstrap(TRAINING, MEMBERS)]
    results = {
        "other weights": measure([member(*part, seed) for seed in range(MEMBERS)], *test),
        "bagging": measure([member(part[0][d], part[1][d], seed) for seed, d in enumerate(draws)], *test),
    }
    fresh = [1 - len(np.unique(d.numpy())) / TRAINING for d in draws]
    print(f"{'':14}{'members alone':>15}{'best of them':>14}{'their average':>15}")
    for name, result in results.items():
        each, average = result["each"]["error"], result["average"]["error"][-1]
        print(f"{name:14}{np.mean(each):>15.2%}{min(each):>14.2%}{average:>15.2%}")
    check(results, fresh)
    finish(out, {"ensembles": draw(results)}, results | {"left out": fresh})


if __name__ == "__main__":
    main()
