"""L-BFGS, Newton's method, steepest descent with a line search: against PyTorch, and on losses with known minima."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn, optim
from nnlab.errors import ArgumentError, CheckpointError, DeviceError
from nnlab.optim import wolfe
from tests.optim.test_optimizer_state import through_files

A = np.array([[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]])
B = np.array([1.0, -2.0, 0.5])


def parameter(values: Any, dtype: Any = nnlab.float64) -> nn.Parameter:
    return nn.Parameter(nnlab.tensor(values, dtype=dtype))


def with_gradients(optimizer: optim.Optimizer, loss_of: Callable[[], nnlab.Tensor]) -> Callable[[], nnlab.Tensor]:
    def closure() -> nnlab.Tensor:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        return loss

    return closure


def quadratic(p: nnlab.Tensor) -> nnlab.Tensor:
    """p A p / 2 - B p, with its minimum at A^-1 B."""
    return (p @ (nnlab.tensor(A) @ p)) / 2 - (nnlab.tensor(B) * p).sum()


# L-BFGS.

LBFGS_CASES: list[dict[str, Any]] = [
    {"max_iter": 4},
    {"max_iter": 3, "lr": 0.3, "history_size": 2},
    {"max_iter": 5, "line_search_fn": "strong_wolfe"},
    {"max_iter": 3, "line_search_fn": "strong_wolfe", "history_size": 3, "lr": 5.0},
    {"max_iter": 20, "max_eval": 7, "line_search_fn": "strong_wolfe"},
    {"max_iter": 6, "line_search_fn": "strong_wolfe", "lr": 1e-3},
    {"max_iter": 9, "lr": 0.3, "tolerance_grad": 0.1},
    {"max_iter": 9, "lr": 0.3, "tolerance_change": 0.01},
]


@pytest.fixture
def torch() -> Iterator[Any]:
    peer = pytest.importorskip("torch")
    peer.set_default_dtype(peer.float64)
    yield peer
    peer.set_default_dtype(peer.float32)


def fit(lib: Any, x: Any, y: Any, first: Any, second: Any, unused: Any) -> Any:
    """Squared error of a network of two layers (``unused`` has no gradient)."""
    return ((lib.tanh(x @ first) @ second - y) ** 2).mean() + 1e-3 * (first**2).sum()


def data() -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(0)
    return tuple(random.standard_normal(shape) for shape in ((20, 3), (20, 2), (3, 4), (4, 2), (5,)))


@pytest.mark.torch
@pytest.mark.parametrize("options", LBFGS_CASES)
def test_lbfgs_against_torch(torch: Any, options: dict[str, Any]) -> None:
    """Ten steps on a small network."""
    x, y, *starts = data()
    ours = [parameter(start) for start in starts]
    theirs = [torch.nn.Parameter(torch.tensor(start)) for start in starts]
    a, b = optim.LBFGS(ours, **options), torch.optim.LBFGS(theirs, **options)
    closures = (
        with_gradients(a, lambda: fit(nnlab, nnlab.tensor(x), nnlab.tensor(y), *ours)),
        with_gradients(b, lambda: fit(torch, torch.tensor(x), torch.tensor(y), *theirs)),
    )
    for _ in range(10):
        assert a.step(closures[0]).item() == pytest.approx(b.step(closures[1]).item(), rel=1e-9)
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-9, atol=1e-9)
        mine, other = a.state[ours[0]], b.state[theirs[0]]
        assert (mine["func_evals"], mine["n_iter"]) == (other["func_evals"], other["n_iter"])


@pytest.mark.parametrize("line_search_fn", [None, "strong_wolfe"])
def test_lbfgs_comes_to_the_minimum_of_a_quadratic(line_search_fn: str | None) -> None:
    p = parameter([5.0, -4.0, 3.0])
    optimizer = optim.LBFGS([p], max_iter=30, line_search_fn=line_search_fn, tolerance_grad=1e-10, tolerance_change=0)
    optimizer.step(with_gradients(optimizer, lambda: quadratic(p)))
    np.testing.assert_allclose(p.detach().numpy(), np.linalg.solve(A, B), atol=1e-9)


def test_lbfgs_with_a_line_search_solves_rosenbrock() -> None:
    p = parameter([-1.2, 1.0])
    optimizer = optim.LBFGS([p], max_iter=100, line_search_fn="strong_wolfe", tolerance_change=1e-15)
    optimizer.step(with_gradients(optimizer, lambda: (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2))
    np.testing.assert_allclose(p.detach().numpy(), [1.0, 1.0], atol=1e-6)
    assert optimizer.state[p]["n_iter"] < 60


@pytest.mark.parametrize("options", LBFGS_CASES)
def test_a_restored_lbfgs_goes_on_bit_for_bit(options: dict[str, Any]) -> None:
    x, y, *starts = (nnlab.tensor(a) for a in data())

    def run(params: list[nn.Parameter], optimizer: optim.LBFGS, steps: int) -> None:
        for _ in range(steps):
            optimizer.step(with_gradients(optimizer, lambda: fit(nnlab, x, y, *params)))

    whole = [parameter(start.numpy()) for start in starts]
    run(whole, optim.LBFGS(whole, **options), 5)
    first = [parameter(start.numpy()) for start in starts]
    optimizer = optim.LBFGS(first, **options)
    run(first, optimizer, 2)
    second = [parameter(p.detach().numpy()) for p in first]
    again = optim.LBFGS(second, **options)
    again.load_state_dict(through_files(optimizer.state_dict()))
    run(second, again, 3)
    for a, b in zip(whole, second, strict=True):
        assert np.array_equal(a.detach().numpy(), b.detach().numpy())


def test_lbfgs_state_of_other_parameters() -> None:
    p, q = parameter([1.0, 2.0, 3.0]), parameter([1.0, 2.0])
    optimizer = optim.LBFGS([p])
    optimizer.step(with_gradients(optimizer, lambda: quadratic(p)))
    with pytest.raises(CheckpointError, match=r"\[LBFGS\] '\w+' has shape \(3,\), the parameters \(2,\)"):
        optim.LBFGS([q]).load_state_dict(optimizer.state_dict())


def test_lbfgs_stops_where_the_gradient_is_zero() -> None:
    p = parameter([0.0, 0.0, 0.0])
    optimizer = optim.LBFGS([p])
    loss = optimizer.step(with_gradients(optimizer, lambda: (p**2).sum()))
    assert loss.item() == 0
    assert optimizer.state[p] == {"func_evals": 1, "n_iter": 0}


def test_lbfgs_ends_as_its_tolerances_say() -> None:
    """p**2 / 2: the first step goes from 0.5 to the minimum; from 0.01 the slope is 1e-4."""
    p = parameter([0.5])
    optimizer = optim.LBFGS([p], max_iter=5, tolerance_change=0)
    optimizer.step(with_gradients(optimizer, lambda: (p**2).sum() / 2))
    assert (p.item(), optimizer.state[p]["n_iter"], optimizer.state[p]["func_evals"]) == (0.0, 1, 2)
    p = parameter([0.01])
    optimizer = optim.LBFGS([p], tolerance_change=2e-4)
    optimizer.step(with_gradients(optimizer, lambda: (p**2).sum() / 2))
    assert (p.item(), optimizer.state[p]["n_iter"], optimizer.state[p]["func_evals"]) == (0.01, 1, 1)


# The line search.


@pytest.mark.torch
def test_the_line_search_takes_pytorchs_steps(torch: Any) -> None:
    """On wavy parabolas of one unknown, one iteration each.

    PyTorch may keep an end of the interval that does not go down far enough, which ours does not: those are few, and
    ours is good there.
    """
    random, differ = np.random.default_rng(0), 0
    for _ in range(300):
        bend, middle, height, speed, phase, start = random.normal(size=6) * [0.5, 3, 2, 3, 3, 2]
        lr = 10 ** random.uniform(-2, 2)

        def f(p: Any, lib: Any, c: tuple = (abs(bend), middle, height, speed, phase)) -> Any:
            return (c[0] * (p - c[1]) ** 2 + c[2] * lib.sin(c[3] * p + c[4])).sum()

        results = []
        for lib, rules, p in (
            (nnlab, optim, parameter([start])),
            (torch, torch.optim, torch.nn.Parameter(torch.tensor([start]))),
        ):
            optimizer = rules.LBFGS([p], lr=lr, max_iter=1, max_eval=25, line_search_fn="strong_wolfe")
            optimizer.step(with_gradients(optimizer, lambda p=p, lib=lib: f(p, lib)))
            results.append((p.item(), optimizer.state[p]["func_evals"]))
        (here, calls), (there, other_calls) = results
        if here != pytest.approx(there, rel=1e-9, abs=1e-9) or calls != other_calls:
            p = parameter([start])
            f(p, nnlab).backward()
            slope, t = -(p.grad.item() ** 2), (here - start) / -p.grad.item()
            value, first = (f(parameter([x]), nnlab).item() for x in (here, start))
            assert value <= first + 1e-4 * t * slope
            differ += 1
    assert differ < 5


@pytest.mark.parametrize("first", [1e-4, 0.1, 1.0, 30.0, 1e4])
@pytest.mark.parametrize(
    ("f", "slope"),
    [
        (lambda t: (t - 3) ** 2, lambda t: 2 * (t - 3)),
        (lambda t: t**4 / 4 - t, lambda t: t**3 - 1),
        (lambda t: -t / (t**2 + 2), lambda t: (t**2 - 2) / (t**2 + 2) ** 2),
        (lambda t: math.cosh(t - 2) if t < 300 else math.inf, lambda t: math.sinh(t - 2) if t < 300 else math.inf),
        (lambda t: math.nan if t > 1.5 else -t + t**3 / 3, lambda t: math.nan if t > 1.5 else t**2 - 1),
    ],
)
def test_a_step_meets_the_strong_wolfe_conditions(f: Any, slope: Any, first: float) -> None:
    calls = []

    def at(t: float) -> wolfe.Point:
        calls.append(t)
        return wolfe.Point(t, f(t), slope(t), nnlab.zeros(1))

    start = wolfe.Point(0.0, f(0.0), slope(0.0), nnlab.zeros(1))
    point, count = wolfe.search(at, start, first, size=1.0, tolerance=1e-9, most=40)
    assert count == len(calls)
    assert (point.value, point.slope) == (f(point.t), slope(point.t))
    assert point.value <= start.value + 1e-4 * point.t * start.slope
    assert abs(point.slope) <= 0.9 * abs(start.slope)


def test_the_cubic_has_its_minimum_where_calculus_says() -> None:
    def f(t: float) -> wolfe.Point:
        return wolfe.Point(t, t**3 - 3 * t, 3 * t**2 - 3, nnlab.zeros(1))  # minimum at 1

    for a, b in ((0.0, 3.0), (3.0, 0.0), (0.5, 2.0)):
        assert wolfe.cubic_minimum(f(a), f(b), 0.0, 3.0) == pytest.approx(1.0)
    assert wolfe.cubic_minimum(f(0.0), f(3.0), 1.5, 3.0) == 1.5
    assert wolfe.cubic_minimum(f(1.0), f(1.0), 0.0, 3.0) == 1.5
    line = [wolfe.Point(t, -t, -1.0, nnlab.zeros(1)) for t in (0.0, 1.0)]
    assert wolfe.cubic_minimum(*line, 2.0, 4.0) == 3.0


# Newton.


def test_newton_is_at_the_minimum_of_a_quadratic_after_one_step() -> None:
    p = parameter([50.0, -40.0, 30.0])
    optimizer = optim.Newton([p])
    loss = optimizer.step(lambda: quadratic(p))
    start = np.array([50.0, -40.0, 30.0])
    assert loss.item() == pytest.approx(start @ A @ start / 2 - B @ start)
    np.testing.assert_allclose(p.detach().numpy(), np.linalg.solve(A, B), rtol=1e-12)
    assert p.grad is None


def test_newton_on_several_parameters_and_with_half_steps() -> None:
    """The same quadratic, its unknowns in a matrix and a scalar; each step goes half the way that is left."""
    top, last = parameter([[50.0], [-40.0]]), parameter(30.0)
    optimizer = optim.Newton([("top", top), ("last", last)], lr=0.5)
    minimum, start = np.linalg.solve(A, B), np.array([50.0, -40.0, 30.0])
    for halves in (2, 4):
        optimizer.step(lambda: quadratic(nnlab.cat([top.reshape(-1), last.reshape(-1)])))
        found = [*top.detach().numpy()[:, 0], last.item()]
        np.testing.assert_allclose(found, minimum + (start - minimum) / halves, rtol=1e-12)


def test_newton_squares_the_error() -> None:
    """p**3 / 3 - 2 p: the steps are Heron's for the root of 2."""
    p = parameter([1.0])
    optimizer = optim.Newton([p])
    for expected in (1.5, 17 / 12, 577 / 408):
        optimizer.step(lambda: (p**3 / 3 - 2 * p).sum())
        assert p.item() == pytest.approx(expected, rel=1e-14)


def test_newton_goes_to_a_saddle_and_damped_away_from_it() -> None:
    def saddle(p: nnlab.Tensor) -> nnlab.Tensor:
        return p[0] ** 2 - p[1] ** 2

    p = parameter([1.0, 0.1])
    optim.Newton([p]).step(lambda: saddle(p))
    assert p.tolist() == [0.0, 0.0]
    p = parameter([1.0, 0.1])
    optim.Newton([p], damping=4.0).step(lambda: saddle(p))
    assert p.tolist() == pytest.approx([1 - 2 / 6, 0.1 + 0.2 / 2])


def test_newton_trains_a_logistic_regression() -> None:
    """The gradient at its answer is zero, which is reached within a few steps."""
    random = np.random.default_rng(1)
    x, y = nnlab.tensor(random.standard_normal((50, 3))), nnlab.tensor(random.integers(0, 2, 50))
    net = nn.Linear(3, 2).to(dtype=nnlab.float64)
    optimizer = optim.Newton(net.named_parameters(), damping=1e-6)  # adding the same to both scores changes nothing

    def loss() -> nnlab.Tensor:
        return nn.functional.cross_entropy(net(x), y)

    for _ in range(8):
        optimizer.step(loss)
    loss().backward()
    assert max(p.grad.abs().max().item() for p in net.parameters()) < 1e-10


def test_newton_with_a_parameter_that_the_loss_does_not_use() -> None:
    p, unused = parameter([4.0]), parameter([7.0])
    with pytest.raises(ArgumentError, match=r"\[Newton\] 'damping' must be larger: .* singular, got 0.0"):
        optim.Newton([p, unused]).step(lambda: (p**2).sum())
    optim.Newton([p, unused], damping=2.0).step(lambda: (p**2).sum())
    assert (p.item(), unused.item()) == (2.0, 7.0)
    optim.Newton([p], damping=0.5).step(lambda: (3 * p).sum())  # no curvature at all
    assert p.item() == 2.0 - 3 / 0.5


# Steepest descent.


def test_line_search_takes_the_best_rate() -> None:
    p = parameter([5.0, -4.0, 3.0])
    rates = (2.0, 1.0, 0.4, 0.1, 0.01)
    optimizer = optim.LineSearch([p], rates)
    x = p.detach().numpy().copy()
    for _ in range(15):
        optimizer.step(with_gradients(optimizer, lambda: quadratic(p)))
        tries = [x - rate * (A @ x - B) for rate in rates]
        x = min([x, *tries], key=lambda z: z @ A @ z / 2 - B @ z)
        np.testing.assert_allclose(p.detach().numpy(), x, rtol=1e-12)


def test_line_search_with_many_rates_finds_the_best_step_of_a_quadratic() -> None:
    """g g / (g A g), as the notes derive it."""
    p = parameter([5.0, -4.0, 3.0])
    start = p.detach().numpy().copy()
    g = A @ start - B
    optimizer = optim.LineSearch([p], np.linspace(0.001, 2, 2000).tolist())
    optimizer.step(with_gradients(optimizer, lambda: quadratic(p)))
    taken = (start - p.detach().numpy()) @ g / (g @ g)
    assert taken == pytest.approx(g @ g / (g @ A @ g), abs=0.0006)


def test_line_search_stays_where_nothing_is_better() -> None:
    p, other = parameter([0.0]), parameter([3.0])
    optimizer = optim.LineSearch([p, other])
    assert optimizer.step(with_gradients(optimizer, lambda: (p**2).sum())).item() == 0
    assert (p.item(), other.item()) == (0.0, 3.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: optim.LBFGS([p], line_search_fn="armijo"), r"\[LBFGS\] 'line_search_fn' must be None or 'strong_"),
        (lambda p: optim.LBFGS([p], max_iter=0), r"\[LBFGS\] 'max_iter' must be positive, got 0"),
        (lambda p: optim.LBFGS([p], lr=-1), r"\[LBFGS\] 'lr' must not be negative"),
        (lambda p: optim.LBFGS([p], tolerance_grad=-1), r"\[LBFGS\] 'tolerance_grad' must not be negative"),
        (
            lambda p: optim.LBFGS([{"params": [p]}, {"params": [parameter([1.0])]}]),
            r"'params' must be one group, got 2",
        ),
        (lambda p: optim.LBFGS([p]).step(), r"\[LBFGS\] 'closure' must be a function that computes the loss, got None"),
        (lambda p: optim.Newton([p]).step(), r"\[Newton\] 'closure' must be a function"),
        (lambda p: optim.LineSearch([p]).step(), r"\[LineSearch\] 'closure' must be a function"),
        (lambda p: optim.Newton([p], damping=-1), r"\[Newton\] 'damping' must not be negative"),
        (
            lambda p: optim.Newton([p, parameter([[1.0] * 60] * 50)]),
            r"\[Newton\] 'params' must hold at most max_parameters = 2000 elements .*, got 3002",
        ),
        (lambda p: optim.LineSearch([p], [0.1, 0.0]), r"\[LineSearch\] 'rates' must be positive numbers"),
        (lambda p: optim.LineSearch([p], []), r"\[LineSearch\] 'rates' must be positive numbers"),
    ],
)
def test_bad_arguments(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make(parameter([1.0, 2.0]))


def test_two_devices() -> None:
    p, q = parameter([1.0]), parameter([1.0])
    other = type(q._be)()
    other.device = nnlab.device("emulated")
    q._be = other
    with pytest.raises(DeviceError, match=r"\[Newton\] 'params' must be on one device, got \['cpu', 'emulated'\]"):
        optim.Newton([p, q])


def test_options_are_plain() -> None:
    p = parameter([1.0])
    for optimizer in (optim.LBFGS([p]), optim.Newton([p]), optim.LineSearch([p])):
        json.dumps(optimizer.state_dict())
