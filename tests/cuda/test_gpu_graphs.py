"""On a real GPU: steps as CUDA graphs give the same bits as without, and ask for no memory. Skipped elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn, optim
from nnlab.backend import get_backend
from nnlab.cuda import CUDAGraph, graph
from nnlab.errors import CaptureError
from nnlab.models import lenet5

pytestmark = pytest.mark.gpu

DEVICE = "cuda"
OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "adam": lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.5),
}


def _batches() -> list[tuple[nnlab.Tensor, nnlab.Tensor]]:
    rng = np.random.default_rng(1)
    drawn = [(rng.standard_normal((16, 1, 28, 28)).astype(np.float32), rng.integers(0, 10, 16)) for _ in range(6)]
    return [(nnlab.from_numpy(x).to(DEVICE), nnlab.from_numpy(target).to(DEVICE)) for x, target in drawn]


def _train(optimizer: str, recorded: bool) -> tuple[list[float], dict[str, np.ndarray]]:
    """Six steps of LeNet with dropout, a falling rate and clipped gradients: losses and weights."""
    nnlab.manual_seed(3)
    model = nn.Sequential(*[layer for part in lenet5().children() for layer in (part, nn.Flatten(), nn.Dropout(0.1))])
    model = model.to(DEVICE)
    chosen = OPTIMIZERS[optimizer](model.parameters())
    criterion = nn.CrossEntropyLoss()
    batches = _batches()
    x, target = batches[0][0].clone(), batches[0][1].clone()
    losses: list[float] = []

    def step() -> nnlab.Tensor:
        chosen.zero_grad()
        loss = criterion(model(x), target)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        chosen.step()
        return loss.detach()

    g = CUDAGraph(DEVICE)
    loss, used, be = x, (0, 0), get_backend(DEVICE)
    for number, batch in enumerate(batches):
        x.copy_(batch[0])
        target.copy_(batch[1])
        chosen.param_groups[0]["lr"] *= 0.9
        if not recorded:
            loss = step()
        elif number == 0:
            with g.warmup():
                loss = step()
        else:
            if number == 1:
                before = {p: dict(entry) for p, entry in chosen.state.items()}
                with graph(g):
                    loss = step()
                chosen.state = before  # recorded, not run
            g.replay(chosen.step)
            memory = be.memory_info()["reserved"], g._recording._pool.total_bytes()
            assert number < 3 or memory == used, "a replay asked the card for memory"
            used = memory
        losses.append(float(loss.item()))
    return losses, {name: value.detach().cpu().numpy() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_same_bits(optimizer: str) -> None:
    losses, weights = _train(optimizer, recorded=False)
    graph_losses, graph_weights = _train(optimizer, recorded=True)
    assert graph_losses == losses
    assert len(set(losses)) == 6
    for name, value in weights.items():
        np.testing.assert_array_equal(graph_weights[name], value, err_msg=name)


def test_a_look_is_refused_and_the_card_goes_on() -> None:
    x = nnlab.ones(3, device=DEVICE)

    def _pick() -> None:
        x[x > 0]

    for look in (lambda: x.sum().item(), get_backend(DEVICE).synchronize, _pick):
        with pytest.raises(Exception) as error, graph(CUDAGraph(DEVICE)):
            look()
        assert look is _pick or isinstance(error.value, CaptureError)  # what picks is refused by CuPy or CUDA
    assert (x * 2).tolist() == [2, 2, 2]
