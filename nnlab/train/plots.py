"""Pictures of a run, drawn with matplotlib without a display (extra ``plots``)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from nnlab import figures
from nnlab.nn import Conv2d, Module
from nnlab.train.logs import Row
from nnlab.train.metrics import per_class

_TRAIN, _VAL, _GREY = "#4c78a8", "#e45756", "#777777"
_PURPOSE = "drawing the run's pictures"
Example = tuple[np.ndarray, int, int, float]


def curves(rows: Sequence[Row], path: Path, unit: str | None = None) -> None:
    """Loss (in ``unit``), accuracy and learning rate over the epochs."""
    figure, axes = figures.subplots(13, 3.8, 1, 3, purpose=_PURPOSE)
    epochs = [row["epoch"] for row in rows]
    marker = "o" if len(rows) < 40 else None
    for axis, what in zip(axes[0], ("loss", "accuracy"), strict=False):
        for part, label, colour in (("train", "training", _TRAIN), ("val", "validation", _VAL)):
            values = [row[f"{part}_{what}"] for row in rows]
            if all(value is None for value in values):
                continue
            series = np.asarray([math.nan if value is None else value for value in values])
            series = 100 * series if what == "accuracy" else series
            axis.plot(epochs, series, color=colour, label=label, marker=marker, markersize=3.5, linewidth=1.8)
            if part == "val":
                place = int(np.nanargmax(series) if what == "accuracy" else np.nanargmin(series))
                best = f"best {series[place]:.2f} %" if what == "accuracy" else f"best {series[place]:.4f}"
                axis.axvline(
                    epochs[place], color=_GREY, linewidth=0.8, linestyle=":", label=f"{best}, epoch {epochs[place]}"
                )
        axis.set_title("Accuracy (%)" if what == "accuracy" else f"Loss ({unit})" if unit else "Loss")
        if axis.lines:
            axis.legend(frameon=False)
    axes[0][2].plot(epochs, [row["lr"] for row in rows], color=_GREY, marker=marker, markersize=3.5, linewidth=1.8)
    axes[0][2].set_title("Learning rate")
    for axis in axes[0]:
        axis.set_xlabel("Epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    figures.save(figure, path)


def confusion(matrix: np.ndarray, classes: Sequence[str], path: Path) -> None:
    """The confusion matrix, coloured by the share of each true class, with counts (up to 20 classes) and recalls."""
    n = len(classes)
    side = min(max(4.5, 0.55 * n + 2.5), 16.0)
    figure, axes = figures.subplots(side + 1.0, side, purpose=_PURPOSE)
    axis = axes[0][0]
    total = matrix.sum(axis=1, keepdims=True)
    share = np.divide(matrix, total, out=np.zeros(matrix.shape), where=total > 0)
    # Mistakes are few: the root spreads the small shares over the colours.
    image = axis.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1)
    recall, _ = per_class(matrix)
    accuracy = np.trace(matrix) / max(int(matrix.sum()), 1)
    axis.set_title(f"Confusion of {int(matrix.sum())} images, {100 * accuracy:.2f} % right")
    axis.set_xlabel("Predicted class")
    axis.set_ylabel("True class (share found)")
    if n <= 50:
        rows = [name if math.isnan(r) else f"{name} ({100 * r:.0f} %)" for name, r in zip(classes, recall, strict=True)]
        long = max(map(len, classes)) > 3
        axis.set_xticks(range(n), classes, rotation=45 if long else 0, ha="right" if long else "center",
                        rotation_mode="anchor" if long else "default")  # fmt: skip
        axis.set_yticks(range(n), rows)
    if n <= 20:
        for i, j in zip(*np.nonzero(matrix), strict=True):
            colour = "white" if share[i, j] > 0.4 else "black"
            axis.text(j, i, int(matrix[i, j]), ha="center", va="center", color=colour, fontsize=8)
    bar = figure.colorbar(image, ax=axis, shrink=0.8, ticks=np.sqrt([0, 0.01, 0.05, 0.2, 0.5, 1]))
    bar.ax.set_yticklabels(["0", "1 %", "5 %", "20 %", "50 %", "100 %"])
    bar.outline.set_visible(False)
    for spine in axis.spines.values():
        spine.set_visible(False)
    axis.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    axis.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    axis.grid(which="minor", color="#dddddd", linewidth=0.5)
    axis.tick_params(which="both", length=0)
    figures.save(figure, path)


def first_filters(model: Module) -> np.ndarray | None:
    """Weights ``(O, I, kh, kw)`` of a model's first Conv2d, None if it has none."""
    layer = next((m for m in model.modules() if isinstance(m, Conv2d)), None)
    return None if layer is None else layer.weight.detach().cpu().numpy()


def filters(weight: np.ndarray, path: Path, limit: int = 96) -> None:
    """The first layer's filters: in colour if they see three channels, else the mean over their inputs.

    Args:
        weight: ``(O, I, kh, kw)``.
        path: the PNG.
        limit: draw no more than so many.
    """
    shown = weight[:limit].astype(np.float64)
    columns = min(8 if len(shown) <= 64 else 12, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure, axes = figures.subplots(max(0.8 * columns, 4.0), 0.8 * rows + 0.6, rows, columns, purpose=_PURPOSE)
    colour = shown.shape[1] == 3
    largest = np.abs(shown).max() or 1.0
    for axis, one in zip(axes.flat, shown, strict=False):
        if colour:
            low, high = one.min(), one.max()
            axis.imshow(((one - low) / ((high - low) or 1.0)).transpose(1, 2, 0))
        else:
            axis.imshow(one.mean(axis=0), cmap="RdBu_r", vmin=-largest, vmax=largest)
    for axis in axes.flat:
        axis.axis("off")
    o, i, kh, kw = weight.shape
    note = "" if colour else f" (red: positive, blue: negative, at most {largest:.2g})"
    figure.suptitle(f"First layer: {o} filters of {i} × {kh} × {kw}{note}", fontsize=10)
    figures.save(figure, path)


def misclassified(
    examples: Sequence[Example],
    classes: Sequence[str],
    path: Path,
    to_image: Callable[[np.ndarray], np.ndarray] | None = None,
) -> None:
    """The most confident mistakes with the predicted class, its probability, and the true class.

    Args:
        examples: network input ``(C, H, W)``, true class, predicted class, probability.
        classes: names.
        path: the PNG.
        to_image: turns a network input into values in 0..1; None: they are spread over their own range.
    """
    columns = max(1, min(5, len(examples)))
    rows = max(1, math.ceil(len(examples) / columns))
    figure, axes = figures.subplots(max(2.1 * columns, 4.2), 2.35 * rows + 0.5, rows, columns, purpose=_PURPOSE)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (pixels, true, predicted, probability) in zip(axes.flat, examples, strict=False):
        if to_image is not None:
            picture = to_image(pixels)
        else:
            picture = (pixels - pixels.min()) / ((pixels.max() - pixels.min()) or 1.0)
        picture = np.clip(picture, 0, 1).transpose(1, 2, 0)
        axis.imshow(picture if picture.shape[2] == 3 else picture[:, :, 0], cmap="gray", vmin=0, vmax=1)
        axis.set_title(f"{classes[predicted]} ({100 * probability:.0f} %)\nis {classes[true]}", fontsize=9)
    figure.suptitle("Most confident mistakes" if examples else "No mistakes", fontsize=11)
    figures.save(figure, path)
