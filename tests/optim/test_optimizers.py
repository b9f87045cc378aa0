"""Optimizers against PyTorch and against loops, trajectory by trajectory; options, groups and errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn, optim
from nnlab.errors import ArgumentError, DeviceError, GraphError, ShapeError
from tests.oracles import optim as oracles

STEPS = 20
SHAPES = [(3, 4), (5,), (2, 2, 2)]

CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.2, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.5, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.7, 0.9), "eps": 1e-3}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.2, "amsgrad": True}),
    ("Adam", {"lr": 0.1, "maximize": True, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True, "eps": 1e-3}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.3, "maximize": True, "betas": (0.0, 0.5)}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.2, "weight_decay": 0.1, "eps": 1e-3}),
    ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.5, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.6, "eps": 1e-3, "weight_decay": 0.1}),
    ("Adadelta", {"rho": 0.0, "maximize": True, "weight_decay": 0.1}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.1, "alpha": 0.8, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.1, "momentum": 0.9, "alpha": 0.7}),
    ("RMSprop", {"lr": 0.1, "centered": True, "alpha": 0.7}),
    ("RMSprop", {"lr": 0.1, "centered": True, "momentum": 0.5, "weight_decay": 0.1, "maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.1, "betas": (0.7, 0.8), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adamax", {"lr": 0.1, "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.1, "betas": (0.7, 0.8), "eps": 1e-3, "weight_decay": 0.1, "momentum_decay": 0.1}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.2, "decoupled_weight_decay": True, "maximize": True}),
    ("RAdam", {}),
    ("RAdam", {"lr": 0.1, "betas": (0.7, 0.8), "eps": 1e-3, "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.1, "betas": (0.0, 0.5), "maximize": True}),
    ("RAdam", {"lr": 0.1, "weight_decay": 0.2, "decoupled_weight_decay": True}),
    ("Rprop", {}),
    ("Rprop", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (0.05, 0.2), "maximize": True}),
]
KINDS = sorted({name for name, _ in CASES})


def busiest(name: str) -> dict[str, Any]:
    """Of an optimizer's cases the one with most options."""
    return max((options for kind, options in CASES if kind == name), key=len)


def gradient(step: int, i: int) -> np.ndarray | None:
    """Of one step and parameter; the second parameter takes part only from step 3 on, and the third not in step 5."""
    if (i == 1 and step < 3) or (i == 2 and step == 5):
        return None
    return np.random.default_rng([step, i]).standard_normal(SHAPES[i]) * (1 + step % 3)


@pytest.fixture
def torch() -> Iterator[Any]:
    """PyTorch with float64 as its default: some of its optimizers keep products of numbers in the default dtype."""
    peer = pytest.importorskip("torch")
    peer.set_default_dtype(peer.float64)
    yield peer
    peer.set_default_dtype(peer.float32)


@pytest.mark.torch
@pytest.mark.parametrize(("name", "options"), CASES)
def test_against_torch(torch: Any, name: str, options: dict[str, Any]) -> None:
    starts = [np.random.default_rng(i).standard_normal(shape) for i, shape in enumerate(SHAPES)]
    ours = [nn.Parameter(nnlab.tensor(x)) for x in starts]
    theirs = [torch.nn.Parameter(torch.tensor(x)) for x in starts]
    groups = [{"params": ours[:2]}, {"params": ours[2:], "lr": 0.05}]
    others = [{"params": theirs[:2]}, {"params": theirs[2:], "lr": 0.05}]
    a, b = getattr(optim, name)(groups, **options), getattr(torch.optim, name)(others, **options)
    for step in range(STEPS):
        for i in range(len(SHAPES)):
            g = gradient(step, i)
            ours[i].grad = None if g is None else nnlab.tensor(g)
            theirs[i].grad = None if g is None else torch.tensor(g)
        a.step()
        b.step()
        for x, y in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(x.detach().numpy(), y.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "options"), [case for case in CASES if hasattr(oracles, case[0].lower())
                                               and case[0] not in ("SGD", "Adam")])  # fmt: skip
def test_against_loops(name: str, options: dict[str, Any]) -> None:
    """Float64 loops over single elements, for machines without PyTorch (SGD and Adam: tests/cuda/cases)."""
    start = np.random.default_rng(0).standard_normal(SHAPES[0])
    gradients = [np.random.default_rng([step, 0]).standard_normal(SHAPES[0]) for step in range(STEPS)]
    param = nn.Parameter(nnlab.tensor(start))
    optimizer = getattr(optim, name)([param], **options)
    found = []
    for g in gradients:
        param.grad = nnlab.tensor(g)
        optimizer.step()
        found.append(param.detach().numpy().copy())
    loop = getattr(oracles, name.lower())
    rate = {"lr": optimizer.defaults["lr"]}
    for at in np.ndindex(*SHAPES[0]):
        path = loop(float(start[at]), [float(g[at]) for g in gradients], **(rate | options))
        np.testing.assert_allclose([x[at] for x in found], path, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_large_parameters_are_cut_into_blocks_without_a_difference(name: str) -> None:
    """More elements than a block, and a parameter and a gradient that are not contiguous."""
    g = np.random.default_rng(0).standard_normal((300, 500))
    x = np.random.default_rng(1).standard_normal((300, 500))
    results = []
    for layout in ("whole", "rows", "views"):
        if layout == "rows":
            params = [nn.Parameter(nnlab.tensor(row)) for row in x]
            for p, row in zip(params, g, strict=True):
                p.grad = nnlab.tensor(row)
        else:
            turned = layout == "views"
            params = [nn.Parameter(nnlab.tensor(x.T.copy()).T if turned else nnlab.tensor(x))]
            params[0].grad = nnlab.tensor(g.T.copy()).T if turned else nnlab.tensor(g)
        optimizer = getattr(optim, name)(params, **(busiest(name) | {"lr": 0.1}))
        for _ in range(3):
            optimizer.step()
        results.append(np.stack([p.detach().numpy() for p in params]).reshape(300, 500))
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


@pytest.mark.parametrize("name", KINDS)
def test_a_parameter_without_dimensions(name: str) -> None:
    """It moves as one of one element does."""
    scalar, vector = nn.Parameter(nnlab.tensor(2.0)), nn.Parameter(nnlab.tensor([2.0]))
    optimizers = [getattr(optim, name)([p], **busiest(name)) for p in (scalar, vector)]
    for _ in range(3):
        for p, optimizer in zip((scalar, vector), optimizers, strict=True):
            optimizer.zero_grad()
            (p * p).sum().backward()
            optimizer.step()
    assert scalar.shape == ()
    assert scalar.item() == vector.item() != 2.0


def test_worked_numbers() -> None:
    p = nn.Parameter(nnlab.tensor([1.0], dtype=nnlab.float64))
    optimizer = optim.SGD([p], lr=0.1, momentum=0.5)
    for expected in (0.8, 0.5, 0.15):  # steps of 0.2, 0.3, 0.35 for a constant gradient of 2
        p.grad = nnlab.tensor([2.0], dtype=nnlab.float64)
        optimizer.step()
        assert p.item() == pytest.approx(expected)
    p = nn.Parameter(nnlab.tensor([1.0], dtype=nnlab.float64))
    adam = optim.Adam([p], lr=0.1, eps=0.0)
    p.grad = nnlab.tensor([1e-3], dtype=nnlab.float64)
    adam.step()
    assert p.item() == pytest.approx(0.9)  # the first step has the size of the rate, whatever the gradient's


def test_centered_rmsprop_under_constant_gradients() -> None:
    """Their variance tends to 0 and rounding takes it below: no root of that is taken."""
    p = nn.Parameter(nnlab.zeros(1000))
    optimizer = optim.RMSprop([p], lr=1e-9, alpha=0.5, centered=True)
    for _ in range(60):
        p.grad = nnlab.linspace(0.1, 5.0, 1000)
        optimizer.step()
    assert np.isfinite(p.detach().numpy()).all()


def test_training_goes_down() -> None:
    nnlab.manual_seed(0)
    net = nn.Linear(3, 1)
    x = nnlab.randn(32, 3)
    target = x @ nnlab.tensor([[1.0], [-2.0], [0.5]]) + 0.3
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        nn.MSELoss()(net(x), target).backward()
        optimizer.step()
    assert net.bias.item() == pytest.approx(0.3, abs=1e-3)
    np.testing.assert_allclose(net.weight.detach().numpy(), [[1.0, -2.0, 0.5]], atol=1e-3)


def test_closure_and_zero_grad() -> None:
    p = nn.Parameter(nnlab.ones(2))
    optimizer = optim.SGD([p], lr=0.25)

    def closure() -> nnlab.Tensor:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with nnlab.no_grad():
        assert optimizer.step(closure).item() == 2.0
    assert p.tolist() == [0.5, 0.5]
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert p.grad is None
    assert optimizer.step() is None
    assert p.tolist() == [0.5, 0.5]


def test_backward_notices_a_step_in_between() -> None:
    p = nn.Parameter(nnlab.ones(2))
    loss = (p * p).sum()
    p.grad = nnlab.ones(2)
    optim.SGD([p], lr=0.1).step()
    with pytest.raises(GraphError, match="modified in place"):
        loss.backward()


def test_groups_and_names() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    optimizer = optim.SGD(net[0].named_parameters(), lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    optimizer.add_param_group({"params": [("last", net[1].weight)], "lr": 1.0, "momentum": 0.5})
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 1.0]
    assert optimizer.param_groups[0]["momentum"] == 0
    single = optim.SGD([{"params": net[0].weight}], lr=0.1)
    assert single.param_groups[0]["params"][0] is net[0].weight
    assert "lr: 0.1" in repr(optimizer)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: optim.SGD([], lr=0.1), r"\[SGD\] 'params' must hold at least one parameter"),
        (lambda p: optim.SGD(p, lr=0.1), r"\[SGD\] 'params' must be an iterable of parameters or of groups"),
        (lambda p: optim.SGD([p, p], lr=0.1), r"\[SGD\] a parameter of shape \(2,\) is given twice"),
        (lambda p: optim.SGD([p * 2], lr=0.1), r"\[SGD\] 'params' must hold leaf tensors"),
        (lambda p: optim.SGD([3], lr=0.1), r"\[SGD\] 'params' must hold tensors, got 'int'"),
        (lambda p: optim.SGD([("a", p), nnlab.ones(1)]), r"all named or all without names"),
        (lambda p: optim.SGD([p], lr=-1), r"\[SGD\] 'lr' must not be negative, got -1"),
        (lambda p: optim.SGD([p], momentum=-0.1), r"\[SGD\] 'momentum' must not be negative, got -0.1"),
        (lambda p: optim.SGD([p], weight_decay=-0.1), r"\[SGD\] 'weight_decay' must not be negative"),
        (lambda p: optim.SGD([p], nesterov=True), r"\[SGD\] 'nesterov' needs momentum > 0"),
        (lambda p: optim.SGD([p], momentum=0.9, dampening=0.1, nesterov=True), r"\[SGD\] 'nesterov' needs"),
        (lambda p: optim.SGD([{"params": [p], "beta": 1}]), r"\[SGD\] 'param_group' must have only options among"),
        (lambda p: optim.SGD([{"lr": 1}]), r"\[SGD\] 'param_group' must be a dict with 'params'"),
        (lambda p: optim.Adam([p], betas=(0.9, 1.0)), r"\[Adam\] 'betas' must be two numbers in \[0, 1\), got"),
        (lambda p: optim.Adam([p], eps=-1), r"\[Adam\] 'eps' must not be negative"),
        (lambda p: optim.AdamW([p], lr=-1), r"\[AdamW\] 'lr' must not be negative"),
        (lambda p: optim.Adagrad([p], lr_decay=-1), r"\[Adagrad\] 'lr_decay' must not be negative, got -1"),
        (lambda p: optim.Adagrad([p], initial_accumulator_value=-1), r"'initial_accumulator_value' must not be neg"),
        (lambda p: optim.Adadelta([p], rho=1.5), r"\[Adadelta\] 'rho' must be in \[0, 1\], got 1.5"),
        (lambda p: optim.Adadelta([p], eps=-1), r"\[Adadelta\] 'eps' must not be negative"),
        (lambda p: optim.RMSprop([p], alpha=-0.1), r"\[RMSprop\] 'alpha' must be in \[0, 1\], got -0.1"),
        (lambda p: optim.RMSprop([p], momentum=-1), r"\[RMSprop\] 'momentum' must not be negative"),
        (lambda p: optim.Adamax([p], betas=(0.9,)), r"\[Adamax\] 'betas' must be two numbers in \[0, 1\)"),
        (lambda p: optim.NAdam([p], momentum_decay=-1), r"\[NAdam\] 'momentum_decay' must not be negative"),
        (lambda p: optim.NAdam([p], betas=(-0.1, 0.9)), r"\[NAdam\] 'betas' must be two numbers"),
        (lambda p: optim.RAdam([p], weight_decay=-1), r"\[RAdam\] 'weight_decay' must not be negative"),
        (lambda p: optim.RAdam([p], betas=(0.9, 1)), r"\[RAdam\] 'betas' must be two numbers"),
        (lambda p: optim.Rprop([p], etas=(1.2, 0.5)), r"\[Rprop\] 'etas' must be one number in \(0, 1\), one above 1"),
        (lambda p: optim.Rprop([p], step_sizes=(2, 1)), r"\[Rprop\] 'step_sizes' must be two numbers in order, from 0"),
        (lambda p: optim.Rprop([{"params": [p], "lr": -1}]), r"\[Rprop\] 'lr' must not be negative"),
    ],
)
def test_bad_arguments(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make(nn.Parameter(nnlab.ones(2)))


def test_gradients_that_do_not_fit() -> None:
    p = nn.Parameter(nnlab.ones(2))
    p.grad = nnlab.ones(3)
    with pytest.raises(ShapeError, match=r"\[SGD\] a parameter has shape \(2,\) but its gradient \(3,\)"):
        optim.SGD([p]).step()


def test_a_model_moved_after_the_first_step_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    p = nn.Parameter(nnlab.ones(2))
    p.grad = nnlab.ones(2)
    optimizer = optim.SGD([p], momentum=0.9)
    optimizer.step()
    # Stands for another device: a second backend object of the same kind.
    elsewhere = type(p._be)()
    p._be = elsewhere
    with pytest.raises(DeviceError, match=r"\[SGD\] a parameter is on cpu but its gradient"):
        optimizer.step()
    p.grad._be = elsewhere
    with pytest.raises(DeviceError, match=r"but its 'momentum_buffer' on cpu; move the model before"):
        optimizer.step()
