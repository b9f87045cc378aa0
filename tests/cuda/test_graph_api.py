"""``nnlab.cuda.CUDAGraph`` for programs of one's own, on the device ``emulated``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn, optim
from nnlab.backend.graphs import Changed
from nnlab.cuda import CUDAGraph, graph
from nnlab.errors import CaptureError, DeviceError
from tests import emulator

EMULATED = emulator.backend()


def put(*values: float) -> nnlab.Tensor:
    return nnlab.tensor(list(values), device="emulated")


def test_recorded_calls_run_again_on_what_the_arrays_hold_then() -> None:
    x, total = put(1.0, 2.0, 3.0), put(0.0)
    g = CUDAGraph("emulated")
    with graph(g, [x, total]):
        y = (x * 2 + 1).relu().reshape(1, 3)
        total += y.sum().reshape(1)
    assert total.tolist() == [0]  # recorded, not run
    assert total._data.__class__ is np.ndarray
    g.replay()
    assert (y.tolist(), total.tolist()) == ([[3, 5, 7]], [15])
    x.copy_(put(-5.0, 0.0, 1.0))
    g.replay()
    assert (y.tolist(), total.tolist()) == ([[0, 1, 3]], [19])


def test_what_was_overwritten_is_put_back_and_later_use_is_as_always() -> None:
    x = put(1.0, 2.0, 3.0)
    g = CUDAGraph("emulated")
    with graph(g, [x]):
        x[1] = 7.0
        x *= 2
        y = x[1:] + 0
    assert x.tolist() == [1, 2, 3]
    y += 1  # no recording any more
    assert float(x[0]) == 1
    g.replay()
    assert (x.tolist(), y.tolist()) == ([2, 14, 6], [14, 6])


def test_draws_go_on_as_without_a_graph() -> None:
    x = nnlab.ones(40, device="emulated")
    drop = nn.Dropout(0.5)
    nnlab.manual_seed(5)
    wanted = [(drop(x) + drop(x)).tolist() for _ in range(4)]
    nnlab.manual_seed(5)
    g = CUDAGraph("emulated")
    found = []
    with g.warmup():
        found.append((drop(x) + drop(x)).tolist())
    with graph(g, [x]):
        y = drop(x) + drop(x)
    assert nnlab.default_generator.offset == 2
    for _ in range(3):
        g.replay()
        found.append(y.tolist())
    assert found == wanted
    assert len(set(map(tuple, wanted))) == 4
    nnlab.manual_seed(5)
    g.replay()
    assert y.tolist() == wanted[0]


def test_an_optimizer_moves_on() -> None:
    def run(recorded: bool) -> Any:
        p = nn.Parameter(put(1.0, -2.0, 3.0))
        optimizer = optim.Adam([p], lr=0.1, amsgrad=True)

        def step() -> None:
            optimizer.zero_grad()
            (p * p).sum().backward()
            optimizer.step()

        step()
        g = CUDAGraph("emulated")
        if recorded:
            tensors = [p, *(v for v in optimizer.state[p].values() if isinstance(v, nnlab.Tensor))]
            with graph(g, tensors):
                step()
            optimizer.state[p]["step"] -= 1  # the recording has not made one
        for number in range(4):
            optimizer.param_groups[0]["lr"] = 0.1 / (number + 1)
            if recorded:
                g.replay(optimizer.step)
            else:
                step()
        return p.detach().tolist(), optimizer.state[p]["step"], optimizer, g

    plain, graphed = run(False), run(True)
    assert plain[:2] == graphed[:2]
    optimizer, g = graphed[2:]
    optimizer.param_groups[0]["maximize"] = True
    before = optimizer.param_groups[0]["params"][0].detach().tolist()
    with pytest.raises(Changed, match="other arrays or options"):
        g.replay(optimizer.step)
    assert optimizer.param_groups[0]["params"][0].detach().tolist() == before


def test_misuse() -> None:
    with pytest.raises(DeviceError, match=r"'device' must be one that has graphs \(cuda, emulated\), got 'cpu'"):
        CUDAGraph("cpu")
    g = CUDAGraph("emulated")
    with pytest.raises(CaptureError, match="nothing was recorded"):
        g.replay()
    x = put(1.0)
    with pytest.raises(CaptureError, match="looks at values"), graph(g, [x]):
        x.item()
    with pytest.raises(CaptureError, match="recorded once"), graph(g, [x]):
        pass
    g, other = CUDAGraph("emulated"), CUDAGraph("emulated")
    with graph(g, [x]):
        y = x + 1
        with pytest.raises(CaptureError, match="being recorded already"), graph(other):
            pass
    with pytest.raises(CaptureError, match="recorded once"), graph(g):
        pass
    g.replay()
    assert y.item() == 2


# What array code does, on a vector, a matrix and indices; each is run again on other numbers.
WAYS: dict[str, Any] = {
    "ufuncs": lambda xp, v, m, i: (xp.add.reduce(m, axis=1), xp.exp(v), xp.maximum(v, 0), -v, v**2, 1 / (v * v + 1)),
    "out": lambda xp, v, m, i: xp.multiply(v, 3, out=xp.empty(v.shape, v.dtype)),
    "in place": lambda xp, v, m, i: _in_place(xp, v),
    "methods": lambda xp, v, m, i: (m.sum(axis=0), m.max(), v.astype("float64"), m.argmax(1), v.copy(), m.cumsum(0)),
    "views": lambda xp, v, m, i: m.T[1:, ::2].reshape(-1),
    "indices": lambda xp, v, m, i: (v[i], m[:, i], xp.take(v, i), v[0], m[1, 2]),
    "assignment": lambda xp, v, m, i: _assignment(xp, v, m, i),
    "masks": lambda xp, v, m, i: xp.where(v > 0, v, 0.5),
    "functions": lambda xp, v, m, i: (
        xp.concatenate([v, v]), xp.matmul(m, m.T), xp.pad(v, 1), xp.flip(m, 0), xp.einsum("ij->j", m), xp.sort(v),
        xp.argsort(v), xp.stack([v, v]), xp.full_like(v, 3), xp.broadcast_to(v, (2, 4)) + 0, xp.ones_like(v) + v,
    ),
    "several results": lambda xp, v, m, i: xp.divmod(v, 2),
    "iteration": lambda xp, v, m, i: [row * 2 for row in m],
}  # fmt: skip


def _in_place(xp: Any, v: Any) -> Any:
    y = xp.zeros(v.shape, v.dtype)
    y += v
    y *= 2
    y.sort()
    y[1:] -= 1
    return y


def _assignment(xp: Any, v: Any, m: Any, i: Any) -> Any:
    y = xp.empty(m.shape, m.dtype)
    y[...] = m
    y[:, i] = 4
    y[0] = v
    y[y > 2] = 0
    y[1].fill(8)
    return y


def _flat(values: Any) -> list[np.ndarray]:
    return [np.asarray(v) for v in (values if isinstance(values, list | tuple) else [values])]


@pytest.mark.parametrize("way", WAYS)
def test_array_code(way: str) -> None:
    rng = np.random.default_rng(4)
    first, second = (
        (rng.standard_normal(4).astype(np.float32), rng.standard_normal((3, 4)).astype(np.float32)) for _ in range(2)
    )
    tensors = [nnlab.from_numpy(a).to("emulated") for a in (*first, np.array([2, 0, 3]))]
    g = CUDAGraph("emulated")
    with graph(g, tensors):
        found = WAYS[way](EMULATED.xp, *(t._data for t in tensors))
        assert all(isinstance(one, np.ndarray) for one in (found if isinstance(found, list | tuple) else [found]))
    for given in (first, second):
        for tensor, array in zip(tensors, given, strict=False):
            tensor.copy_(nnlab.from_numpy(array))
        g.replay()
        wanted = _flat(WAYS[way](np, *given, np.array([2, 0, 3])))
        for one, other in zip(_flat(found), wanted, strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize(
    "look",
    [
        lambda xp, v: xp.nonzero(v), lambda xp, v: xp.unique(v), lambda xp, v: v[v > 0], lambda xp, v: float(v[0]),
        lambda xp, v: xp.array_equal(v, v), lambda xp, v: xp.where(v > 0), lambda xp, v: v.tolist(),
        lambda xp, v: 1.0 in v, lambda xp, v: xp.asarray([1.0, 2.0]), lambda xp, v: xp.array(np.ones(2)),
        lambda xp, v: int(v.argmax()), lambda xp, v: xp.count_nonzero(v) and None,
    ],
)  # fmt: skip
def test_what_a_gpu_would_wait_for_is_refused(look: Any) -> None:
    v = put(1.0, -1.0)
    with pytest.raises(CaptureError), graph(CUDAGraph("emulated"), [v]):
        look(EMULATED.xp, v._data)
    assert look(EMULATED.xp, v._data) is not EMULATED  # and is allowed again
