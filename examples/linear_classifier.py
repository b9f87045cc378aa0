"""Linear classifiers of images: scores, and the templates that softmax and logistic regression learn.

    python examples/linear_classifier.py [--out FOLDER]

A class's score is w x + b: the image, multiplied by the class's template w and added up. The worked example has four
pixels and the classes cat, turtle and owl. Softmax regression learns ten templates of scikit-learn's digits (extra
``demo``), logistic regression one that tells 8 from 3. The folder gets ``linear_classifier.png`` and ``numbers.json``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from common import finish, folder

import nnlab
from nnlab import data, figures, nn
from nnlab.classic.linear_classifier import logistic_regression, softmax_regression
from nnlab.errors import optional_import

WORKED = {
    "weight": [[0.1, -0.25, 0.1, 2.5], [0, 0.5, 0.2, -0.6], [2, 0.8, 1.8, -0.1]],
    "bias": [-2.0, 1.7, -0.5],
}
PIXELS, CLASSES = [1.0, 73.0, 227.0, 82.0], ("cat", "turtle", "owl")
PENALTY, ITERATIONS = 0.003, 150
Arrays = tuple[np.ndarray, np.ndarray]


def worked_scores() -> list[float]:
    layer = nn.Linear(4, 3, dtype=nnlab.float64)
    layer.load_state_dict({name: nnlab.tensor(np.array(values)) for name, values in WORKED.items()})
    scores: list[float] = layer(nnlab.tensor(np.array(PIXELS))).tolist()
    return scores


def digits(train: bool) -> Arrays:
    """Images (N, 64) in 0..1 and their labels; a fifth of each class is for testing."""
    part = data.load("digits", train=train)
    images = np.stack([np.asarray(image, np.float64).reshape(-1) for image, _ in part])
    return images, np.array([label for _, label in part])


def scores(model: nn.Linear, x: np.ndarray) -> np.ndarray:
    with nnlab.no_grad():
        return model(nnlab.tensor(x)).numpy()


def check(worked: list[float], ten: nn.Linear, two: nn.Linear, train: Arrays, test: Arrays) -> dict[str, float]:
    # 0.1 - 18.25 + 22.7 + 205 - 2; 36.5 + 45.4 - 49.2 + 1.7; 2 + 58.4 + 408.6 - 8.2 - 0.5: an owl
    np.testing.assert_allclose(worked, [207.55, 34.4, 460.3], rtol=1e-12)
    assert CLASSES[int(np.argmax(worked))] == "owl"
    # The same optimum as scikit-learn's, which minimises C * sum of losses + |W|^2 / 2.
    linear_model = optional_import("sklearn.linear_model", extra="demo", purpose="a comparison")
    other = linear_model.LogisticRegression(C=1 / (len(train[0]) * PENALTY), tol=1e-8, max_iter=5000).fit(*train)
    np.testing.assert_allclose(ten.weight.detach().numpy(), other.coef_, atol=1e-4)
    found = {}
    for name, (x, label) in {"train": train, "test": test}.items():
        found[f"digits, {name}"] = float((scores(ten, x).argmax(1) == label).mean())
        some = (label == 3) | (label == 8)
        found[f"8 or 3, {name}"] = float(((scores(two, x[some])[:, 0] > 0) == (label[some] == 8)).mean())
    assert found["digits, train"] > 0.95 and found["digits, test"] > 0.93
    assert found["8 or 3, train"] > 0.98 and found["8 or 3, test"] > 0.95
    # Templates fit their own class: its mean image scores highest for each of the ten.
    means = np.stack([train[0][train[1] == c].mean(0) for c in range(10)])
    assert (scores(ten, means).argmax(1) == np.arange(10)).all()
    return found


def draw(ten: nn.Linear, two: nn.Linear, test: Arrays) -> Any:
    figure, axes = figures.subplots(12, 8, 3, 5, purpose="drawing the templates")
    templates = ten.weight.detach().numpy().reshape(10, 8, 8)
    limit = abs(templates).max()
    for number, plane in enumerate(axes[:2].flat):
        shown = plane.imshow(templates[number], cmap="RdBu_r", vmin=-limit, vmax=limit)
        plane.set_title(f"template of {number}")
    figure.colorbar(shown, ax=axes[:2, -1], shrink=0.8, label="weight")
    image, product, bars, template, histogram = axes[2]
    x, label = test
    example = int(np.flatnonzero(label == 5)[0])
    image.imshow(x[example].reshape(8, 8), cmap="gray_r")
    image.set_title("an image")
    weighed = templates[5] * x[example].reshape(8, 8)
    product.imshow(weighed, cmap="RdBu_r", vmin=-abs(weighed).max(), vmax=abs(weighed).max())
    product.set_title("image * template of 5")
    each = scores(ten, x[example : example + 1])[0]
    bars.bar(range(10), each, color=["#e45756" if c == 5 else "#4c78a8" for c in range(10)])
    bars.axhline(0, color="black", linewidth=0.8)
    bars.set(title="its ten scores", xticks=range(10))
    pair = two.weight.detach().numpy().reshape(8, 8)
    template.imshow(pair, cmap="RdBu_r", vmin=-abs(pair).max(), vmax=abs(pair).max())
    template.set_title("logistic: 8 (red) or 3")
    for plane in (*axes[:2].flat, image, product, template):
        plane.set(xticks=(), yticks=())
    for number, colour in ((3, "#4c78a8"), (8, "#e45756")):
        z = scores(two, x[label == number])[:, 0]
        p = 1 / (1 + np.exp(-z))
        histogram.hist(p, np.linspace(0, 1, 21), color=colour, alpha=0.8, label=f"images of {number}")
    histogram.set(title="P(8), test images", xlabel="P")
    histogram.legend(fontsize=8, loc="upper center")
    return figure


def main(arguments: list[str] | None = None) -> None:
    out = folder("linear-classifier", __doc__, arguments)
    worked = worked_scores()
    print("scores of the worked example: " + ", ".join(f"{c} {s:.2f}" for c, s in zip(CLASSES, worked, strict=True)))
    train, test = digits(True), digits(False)
    ten = softmax_regression(nnlab.tensor(train[0]), nnlab.tensor(train[1]), 10, penalty=PENALTY, iterations=ITERATIONS)
    some = (train[1] == 3) | (train[1] == 8)
    eight = (train[1][some] == 8).astype(np.int64)
    two = logistic_regression(nnlab.tensor(train[0][some]), nnlab.tensor(eight), penalty=PENALTY, iterations=ITERATIONS)
    found = check(worked, ten, two, train, test)
    for name, share in found.items():
        print(f"{name:16}{share:8.1%} right")
    numbers = {"scores": dict(zip(CLASSES, worked, strict=True)), **found}
    finish(out, {"linear_classifier": draw(ten, two, test)}, numbers)


if __name__ == "__main__":
    main()
