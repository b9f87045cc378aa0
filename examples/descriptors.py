"""Descriptors made by hand, and a logistic classifier on top: mug or no mug, beach or desert.

    python examples/descriptors.py [--out FOLDER]

A shape is described by its shape distribution D2, a histogram of the distances between random points of its surface
(Osada et al., 2002), an image by its two most frequent colours. Shapes and images are drawn by programs. What the
descriptor does not see, no classifier can learn: a glass is a mug without a handle, and a beach of much sand looks like
a desert. The folder gets ``descriptors.png`` and ``numbers.json``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from common import finish, folder

import nnlab
from nnlab import figures, nn
from nnlab.classic.descriptors import dominant_colours, shape_distribution, surface_points
from nnlab.classic.linear_classifier import logistic_regression
from nnlab.random import host_generator

Mesh = tuple[np.ndarray, np.ndarray]
BINS, PAIRS = 24, 5000
RED, BLUE, GREY = "#e45756", "#4c78a8", "0.55"


def sheet(points: np.ndarray, closed: bool) -> Mesh:
    """Triangles between neighbours of a grid of points (n, m, 3), whose rows may be closed to rings."""
    n, m = points.shape[:2]
    numbers = np.arange(n * m).reshape(n, m)
    if closed:
        numbers = np.concatenate([numbers, numbers[:, :1]], 1)
    a, b, c, d = numbers[:-1, :-1], numbers[:-1, 1:], numbers[1:, :-1], numbers[1:, 1:]
    return points.reshape(-1, 3), np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, d), (a, d, c))])


def join(*meshes: Mesh) -> Mesh:
    first = np.cumsum([0, *(len(vertices) for vertices, _ in meshes)])
    return np.concatenate([v for v, _ in meshes]), np.concatenate([t + n for (_, t), n in zip(meshes, first)])


def turned(profile: list[tuple[float, float]]) -> Mesh:
    """The surface that a line of (radius, height) makes around the axis."""
    r, z = np.array(profile).T[:, :, None]
    angle = np.arange(32) * (math.pi / 16)
    return sheet(np.stack([r * np.cos(angle), r * np.sin(angle), z + 0 * angle], -1), True)


def box(x: float, y: float, z: float, at: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    rings = [(0, -1), (1, -1), (1, 1), (0, 1)]  # a lid closes at its middle
    points = np.array([[(a * s, b * s, h) for a, b in corners] for s, h in rings])
    return sheet(points * (x / 2, y / 2, z / 2) + at, True)


def glass(rng: np.random.Generator) -> Mesh:
    h, wall, foot = rng.uniform(1.8, 2.6), rng.uniform(0.08, 0.14), rng.uniform(0.8, 1)
    return turned([(0, 0), (foot, 0), (1, h), (1 - wall, h), (foot - wall, 0.1), (0, 0.1)])


def mug(rng: np.random.Generator) -> Mesh:
    """A glass, and a tube bent to half an ellipse as its handle."""
    cup = glass(rng)
    height, out, thick = cup[0][:, 2].max(), rng.uniform(0.7, 1), rng.uniform(0.1, 0.16)
    bend, around = np.meshgrid(np.linspace(-math.pi / 2, math.pi / 2, 13), np.arange(8) * math.pi / 4, indexing="ij")
    reach = 1 + thick * np.cos(around)
    x, z = 0.95 + (out * reach) * np.cos(bend), height / 2 + (0.36 * height * reach) * np.sin(bend)
    return join(cup, sheet(np.stack([x, thick * np.sin(around), z], -1), True))


def spheroid(height: float) -> Mesh:
    return turned([(math.sin(p), height * math.cos(p)) for p in np.linspace(0, math.pi, 17)])


def ball(rng: np.random.Generator) -> Mesh:
    return spheroid(rng.uniform(0.9, 1.1))


def bowl(rng: np.random.Generator) -> Mesh:
    depth = rng.uniform(0.5, 1)
    polar = np.linspace(0, math.pi / 2, 9)
    outer = [(math.sin(p), -depth * math.cos(p)) for p in polar]
    return turned(outer + [(0.92 * r, 0.92 * z) for r, z in outer[::-1]])


def cone(rng: np.random.Generator) -> Mesh:
    return turned([(0, 0), (1, 0), (0, rng.uniform(1.5, 3))])


def crate(rng: np.random.Generator) -> Mesh:
    return box(*rng.uniform(0.6, 2, 3))


def table(rng: np.random.Generator) -> Mesh:
    x, y, h = rng.uniform(1.5, 3), rng.uniform(1.2, 2), rng.uniform(0.8, 1.6)
    legs = [box(0.12, 0.12, h, (sx * x * 0.45, sy * y * 0.45, -h / 2)) for sx in (-1, 1) for sy in (-1, 1)]
    return join(box(x, y, 0.1), *legs)


OTHERS: dict[str, Callable[[np.random.Generator], Mesh]] = {
    "ball": ball, "bowl": bowl, "cone": cone, "crate": crate, "table": table,
}  # fmt: skip


def shapes(seed: int, each: int = 12) -> dict[str, np.ndarray]:
    """D2 of as many mugs as there are others, and of glasses."""
    counts = {"mug": each * len(OTHERS), "glass": each} | dict.fromkeys(OTHERS, each)
    makers = {"mug": mug, "glass": glass} | OTHERS
    found = {}
    for kind, (name, count) in enumerate(counts.items()):
        meshes = [makers[name](host_generator(seed, kind, i)) for i in range(count)]
        found[name] = np.stack([shape_distribution(*m, pairs=PAIRS, bins=BINS, seed=i) for i, m in enumerate(meshes)])
    return found


def scene(seed: int, beach: bool) -> np.ndarray:
    """Sky above sand, on a beach with the sea between; uint8 (32, 48, 3)."""
    rng = host_generator(seed)
    sky, sea, sand = (rng.normal(c, 14) for c in ((125, 180, 235), (30, 95, 145), (215, 180, 125)))
    horizon = int(rng.integers(8, 18))
    shore = horizon + (int(rng.integers(3, 20)) if beach else 0)
    image = np.empty((32, 48, 3))
    slope = np.linspace(-1, 1, 48) * rng.uniform(-3, 3)
    rows = np.arange(32)[:, None]
    image[:] = sand
    image[rows + 0 * slope < shore + slope * (1 if beach else 2)] = sea if beach else sky
    image[:horizon] = sky
    return np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)


def scenes(seed: int, count: int = 100) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, their colours (count, 6) and 1 for a beach, 0 for a desert."""
    beach = np.arange(count) % 2
    images = np.stack([scene(seed * count + i, bool(b)) for i, b in enumerate(beach)])
    return images, np.stack([dominant_colours(image).reshape(-1) for image in images]), beach


def fit(x: np.ndarray, target: np.ndarray, penalty: float) -> nn.Linear:
    return logistic_regression(nnlab.tensor(x), nnlab.tensor(target), penalty=penalty)


def probability(model: nn.Linear, x: np.ndarray) -> np.ndarray:
    with nnlab.no_grad():
        return nnlab.sigmoid(model(nnlab.tensor(x)))[:, 0].numpy()


def stacked(kinds: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mugs and others, glasses left out, with 1 for a mug."""
    x = np.concatenate([kinds["mug"], *(kinds[name] for name in OTHERS)])
    return x, (np.arange(len(x)) < len(kinds["mug"])).astype(np.int64)


def right(model: nn.Linear, x: np.ndarray, target: np.ndarray) -> float:
    return float(((probability(model, x) > 0.5) == target).mean())


def check(found: dict[str, float], model: nn.Linear) -> None:
    assert found["mugs, train"] > 0.93 and found["mugs, test"] > 0.93
    assert found["glasses called mugs"] > 0.5  # the handle is a small part of the surface
    assert 0.85 < found["beaches, train"] < 1 and found["beaches, test"] > 0.85
    # A mug that is turned, moved and enlarged is the same to D2.
    vertices, triangles = mug(host_generator(5))
    rotation = np.linalg.qr(host_generator(6).normal(size=(3, 3)))[0]
    both = [shape_distribution(v, triangles, pairs=PAIRS, bins=BINS) for v in (vertices, 3 * vertices @ rotation + 2)]
    assert abs(both[0] - both[1]).max() <= 2 / PAIRS
    assert np.ptp(probability(model, np.stack(both))) < 0.01
    # A ball: two points of its surface are d apart with density d / 2, up to twice its radius, 4/3 on average.
    edges = np.minimum(np.linspace(0, 3, BINS + 1) * 4 / 3, 2)
    d2 = shape_distribution(*spheroid(1), pairs=100000, bins=BINS)
    assert abs(d2 - np.diff(edges**2 / 4)).max() < 0.01


def draw(test: dict[str, np.ndarray], model: nn.Linear, images: np.ndarray, colours: np.ndarray, chance: np.ndarray,
         beach: np.ndarray) -> Any:  # fmt: skip
    figure, axes = figures.subplots(14, 9, 3, 4, height_ratios=(3, 3, 1.9), purpose="drawing the descriptors")
    for plane, (name, maker) in zip(axes[0], {"mug": mug, "glass": glass, "bowl": bowl, "table": table}.items()):
        points = surface_points(*maker(host_generator(3)), 2500)
        plane.scatter(points[:, 0] + 0.35 * points[:, 1], points[:, 2] + 0.3 * points[:, 1], s=2, c=-points[:, 1],
                      cmap="Blues", vmin=-2.5, vmax=1)  # fmt: skip
        plane.set(title=name, aspect="equal", xticks=(), yticks=())
    curves, weights, strips, tests = axes[1]
    middle = (np.arange(BINS) + 0.5) * 3 / BINS
    for name, colour in (("mug", RED), ("glass", "#f2a65a"), ("ball", GREY), ("bowl", BLUE), ("table", "#54a24b")):
        curves.plot(middle, test[name].mean(0), color=colour, label=name)
    curves.set(title="D2: mean histograms", xlabel="distance / mean distance")
    curves.legend(fontsize=8)
    w = model.weight.detach().numpy()[0]
    weights.bar(middle, w, 3 / BINS * 0.9, color=np.where(w > 0, RED, BLUE))
    weights.set(title='weights of "mug"', xlabel="distance / mean distance")
    for place, name in enumerate(test):
        chances = probability(model, test[name])
        shift = np.linspace(-0.3, 0.3, len(chances))
        strips.plot(chances, place + shift, ".", color=RED if name == "mug" else BLUE, markersize=4)
    strips.set(title="P(mug) of test shapes", yticks=range(len(test)), yticklabels=list(test))
    strips.axvline(0.5, color="black", linewidth=0.8)
    for value, name, colour in ((1, "beaches", BLUE), (0, "deserts", "#d9a441")):
        tests.hist(chance[beach == value], np.linspace(0, 1, 21), color=colour, alpha=0.8, label=name)
    tests.set(title="P(beach) of test images")
    tests.legend(fontsize=8)
    wrong = np.flatnonzero((chance > 0.5) != beach)
    chosen = [0, 1, 3, int(wrong[0])]  # a desert, two beaches and an error
    for plane, number in zip(axes[2], chosen, strict=True):
        pair = colours[number].reshape(2, 1, 3)
        swatch = np.repeat(np.repeat(pair, 16, 0), 12, 1)
        plane.imshow(np.concatenate([images[number] / 255, np.ones((32, 3, 3)), swatch], 1))
        name = "beach" if beach[number] else "desert"
        plane.set_title(f"{name}, P(beach) = {chance[number]:.2f}", color="black" if number != wrong[0] else RED)
        plane.set(xticks=(), yticks=())
    return figure


def main(arguments: list[str] | None = None) -> None:
    out = folder("descriptors", __doc__, arguments)
    train, test = shapes(1), shapes(2)
    model = fit(*stacked(train), 1e-4)
    _, x, beach = scenes(1)
    images, held, truth = scenes(2)
    coast = fit(x, beach, 1e-3)
    found = {
        "mugs, train": right(model, *stacked(train)),
        "mugs, test": right(model, *stacked(test)),
        "glasses called mugs": float((probability(model, test["glass"]) > 0.5).mean()),
        "beaches, train": right(coast, x, beach),
        "beaches, test": right(coast, held, truth),
    }
    for name, share in found.items():
        print(f"{name:20}{share:7.1%}")
    check(found, model)
    finish(out, {"descriptors": draw(test, model, images, held, probability(coast, held), truth)}, found)


if __name__ == "__main__":
    main()
