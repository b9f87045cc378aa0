"""state_dict: its keys, its errors, and moving between PyTorch and nnlab."""

from __future__ import annotations

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.errors import CheckpointError
from tests.nn.peer import arrays, close


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(18, 3))


def test_values_travel_and_memory_is_shared() -> None:
    first, second = small(), small()
    state = first.state_dict()
    result = second.load_state_dict(state)
    assert result == ([], [])
    x = nnlab.randn(2, 1, 5, 5)
    close(first(x), second(x).detach().numpy())
    with nnlab.no_grad():
        first[0].bias.fill_(5.0)
    assert state["0.bias"].tolist() == [5.0, 5.0]
    assert second[0].bias.tolist() != [5.0, 5.0]
    assert not state["0.bias"].requires_grad
    assert first.state_dict(keep_vars=True)["0.bias"] is first[0].bias
    assert next(iter(first.state_dict(prefix="net."))) == "net.0.weight"


def test_all_that_does_not_fit_is_listed_and_nothing_is_changed() -> None:
    net = small()
    before = {key: value.numpy().copy() for key, value in net.state_dict().items()}
    state = {key: value + 1 for key, value in before.items()}
    del state["0.bias"], state["1.running_mean"]
    state["extra.weight"] = np.zeros(3)
    state["3.weight"] = np.zeros((4, 18))
    with pytest.raises(CheckpointError) as caught:
        net.load_state_dict(state)
    assert str(caught.value) == (
        "[Sequential] the state does not fit the model:\n"
        "  missing: 0.bias, 1.running_mean\n"
        "  unexpected: extra.weight\n"
        "  wrong shape: 3.weight is (4, 18), the model has (3, 18)"
    )
    for key, value in net.state_dict().items():
        assert np.array_equal(value.numpy(), before[key])
    with pytest.raises(CheckpointError, match=r"^\[Sequential\] .*model:\n  wrong shape: 3.weight"):
        net.load_state_dict(state, strict=False)
    del state["3.weight"]
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert missing == ["0.bias", "1.running_mean", "3.weight"]
    assert unexpected == ["extra.weight"]
    assert np.array_equal(net[0].weight.detach().numpy(), before["0.weight"] + 1)
    assert np.array_equal(net[0].bias.detach().numpy(), before["0.bias"])


def test_values_are_cast_unless_assigned() -> None:
    net = nn.Linear(2, 1)
    weight = nnlab.tensor([[1.0, 2.0]], dtype=nnlab.float64)
    state = {"weight": weight, "bias": nnlab.zeros(1, dtype=nnlab.float64)}
    param = net.weight
    net.load_state_dict(state)
    assert net.weight is param
    assert net.weight.dtype == nnlab.float32
    assert net.weight.tolist() == [[1.0, 2.0]]
    net.load_state_dict(state, assign=True)
    assert net.weight.dtype == nnlab.float64
    assert isinstance(net.weight, nn.Parameter)
    weight.fill_(9.0)
    assert net.weight.tolist() == [[9.0, 9.0]]


@pytest.mark.torch
def test_to_and_from_torch() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Flatten(), torch.nn.Linear(18, 3)
    ).double()
    x = np.random.default_rng(0).standard_normal((4, 1, 5, 5))
    theirs(torch.tensor(x * 3))  # moves the running statistics
    ours = small().double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(arrays(theirs.state_dict()))
    close(ours.eval()(nnlab.tensor(x)), theirs.eval()(torch.tensor(x)))
    fresh = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Flatten(), torch.nn.Linear(18, 3)
    ).double()
    fresh.load_state_dict({key: torch.from_numpy(value.numpy()) for key, value in ours.state_dict().items()})
    close(ours(nnlab.tensor(x)), fresh.eval()(torch.tensor(x)))


def test_a_buffer_that_is_not_saved_is_not_wanted_either() -> None:
    net = nn.Identity()
    net.register_buffer("kept", nnlab.zeros(1))
    net.register_buffer("scratch", nnlab.zeros(1), persistent=False)
    assert net.load_state_dict({"kept": nnlab.ones(1)}) == ([], [])
    assert net.kept.item() == 1.0
    with pytest.raises(CheckpointError, match="unexpected: scratch"):
        net.load_state_dict({"kept": nnlab.ones(1), "scratch": nnlab.ones(1)})
