"""On a real GPU: steps as CUDA graphs give the same bits as without, and ask for no memory. Skipped elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn, optim
from nnlab.amp import GradScaler
from nnlab.backend import get_backend
from nnlab.cuda import CUDAGraph, graph
from nnlab.errors import CaptureError
from nnlab.models import lenet5
from nnlab.text import BitsPerCharacter, CharModel, TextStreams
from nnlab.train import Trainer

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


def _fit(kind: str, recorded: bool) -> tuple[list[float], dict[str, np.ndarray], list[int]]:
    """A Trainer's losses, weights and replays: a character model that carries its state; float16 with overflows."""
    nnlab.manual_seed(3)
    if kind == "text":
        ids = np.random.default_rng(3).integers(0, 5, 3 * 53 + 1)
        model: Any = CharModel(5, embedding_dim=8, hidden_size=16, num_layers=2, dropout=0.2)
        batches, options = TextStreams(ids, 3, 7), {"loss": BitsPerCharacter()}
    else:
        rng = np.random.default_rng(4)
        drawn = [(rng.standard_normal((16, 32)).astype(np.float32), rng.integers(0, 8, 16)) for _ in range(7)]
        batches = [(nnlab.from_numpy(x), nnlab.from_numpy(target)) for x, target in drawn]
        model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 8))
        options = {"precision": "fp16"}
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    trainer = Trainer(
        model, optimizer, batches, epochs=4, clip_norm=0.5, device=DEVICE, graph=recorded, poll_every=50, **options
    )
    if kind == "fp16":
        trainer.precision.scaler = GradScaler(DEVICE, growth_factor=4.0, growth_interval=2)
    rows = trainer.fit()
    assert trainer.graphs.reason is None, trainer.graphs.reason
    found = {name: value.detach().cpu().numpy() for name, value in model.state_dict().items()}
    found["scale"] = np.asarray(trainer.precision.scaler.get_scale())
    found["steps"] = np.asarray([entry["step"] for entry in optimizer.state_dict()["state"].values()])
    return [row["train_loss"] for row in rows], found, [step.replays for step in trainer.graphs.steps.values()]


@pytest.mark.parametrize("kind", ["text", "fp16"])
def test_a_trainer_with_state_or_loss_scaling(kind: str) -> None:
    losses, plain, _ = _fit(kind, recorded=False)
    graph_losses, graph, replays = _fit(kind, recorded=True)
    assert sum(replays) > 10
    assert graph_losses == losses
    for name, value in plain.items():
        np.testing.assert_array_equal(graph[name], value, err_msg=name)
    assert kind == "text" or plain["steps"][0] < 28  # some overflowed


def test_a_look_is_refused_and_the_card_goes_on() -> None:
    x = nnlab.ones(3, device=DEVICE)

    def _pick() -> None:
        x[x > 0]

    for look in (lambda: x.sum().item(), get_backend(DEVICE).synchronize, _pick):
        with pytest.raises(Exception) as error, graph(CUDAGraph(DEVICE)):
            look()
        assert look is _pick or isinstance(error.value, CaptureError)  # what picks is refused by CuPy or CUDA
    assert (x * 2).tolist() == [2, 2, 2]
