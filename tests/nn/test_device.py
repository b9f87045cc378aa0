"""Layers, losses, optimizers and clipping on arrays as strict as a GPU's: same bits as on the CPU, and clear errors."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import nnlab
import nnlab.backend
import nnlab.ops
from nnlab import nn, optim
from nnlab.errors import DeviceError
from tests.strict_device import StrictBackend


@pytest.fixture(autouse=True)
def _strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device "cuda" without a GPU; operations with kernels run their array code."""
    backend, real = StrictBackend(), nnlab.backend._backend
    monkeypatch.setattr(nnlab.backend, "_backend", lambda kind, i: backend if kind == "cuda" else real(kind, i))
    monkeypatch.setattr(nnlab.ops, "CUDA_KERNELS", frozenset())


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"),
        nn.BatchNorm2d(4, momentum=None),
        nn.LeakyReLU(0.1),
        nn.LocalResponseNorm(3),
        nn.MaxPool2d(2),
        nn.ConvTranspose2d(4, 3, 2, stride=2, groups=1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d((3, 3)),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(27, 5),
        nn.LogSoftmax(1),
    )


@pytest.mark.parametrize(
    ("name", "options"), [("SGD", {"lr": 0.1, "momentum": 0.9}), ("AdamW", {"amsgrad": True, "weight_decay": 0.1})]
)
def test_training_gives_the_same_bits(name: str, options: dict[str, Any]) -> None:
    nnlab.manual_seed(1)
    start = network()
    x, target = nnlab.randn(6, 2, 6, 6), nnlab.randint(0, 5, (6,))
    results = []
    for device in ("cpu", "cuda"):
        nnlab.manual_seed(2)
        net = copy.deepcopy(start).to(device)
        loss_of = nn.NLLLoss(nnlab.tensor([1.0, 2.0, 1.0, 0.5, 1.0])).to(device)
        optimizer = getattr(optim, name)(net.named_parameters(), **options)
        for _ in range(3):
            optimizer.zero_grad()
            loss_of(net(x.to(device)), target.to(device)).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            nn.utils.clip_grad_value_(net.parameters(), 0.1)
            optimizer.step()
        assert {str(p.device) for p in net.parameters()} == {"cpu" if device == "cpu" else "cuda:0"}
        results.append({key: value.cpu().numpy() for key, value in net.state_dict().items()})
        state = optimizer.state_dict()
        again = getattr(optim, name)(net.named_parameters(), **options)
        again.load_state_dict(state)
        assert all(
            t.device == p.device for p in net.parameters() for t in again.state[p].values() if not isinstance(t, int)
        )
    for key, value in results[0].items():
        np.testing.assert_array_equal(results[1][key], value, err_msg=key)


def text_network() -> nn.ModuleList:
    return nn.ModuleList(
        [
            nn.Embedding(9, 8, padding_idx=2, max_norm=2.0, scale_grad_by_freq=True),
            nn.TransformerEncoderLayer(8, 2, 6, batch_first=True),
            nn.RMSNorm(8),
            nn.TransformerDecoderLayer(8, 2, 6, norm_first=True, batch_first=True),
            nn.GroupNorm(2, 4),
            nn.InstanceNorm1d(4, affine=True, track_running_stats=True),
            nn.LocalResponseNorm(3, within=True),
            nn.Dropout1d(0.2),
            nn.AlphaDropout(0.2),
            nn.Bilinear(8, 8, 3),
            nn.EmbeddingBag(9, 8, mode="max", padding_idx=1),
        ]
    )


def test_attention_and_norms_give_the_same_bits() -> None:
    nnlab.manual_seed(1)
    start = text_network()
    words, padding = nnlab.randint(0, 9, (5, 4)), nnlab.tensor([[False, False, i == 1, False] for i in range(5)])
    results = []
    for device in ("cpu", "cuda"):
        nnlab.manual_seed(2)
        net = copy.deepcopy(start).to(device)
        embedding, encoder, rms, decoder, *between, bilinear, bag = net
        index, hidden = words.to(device), padding.to(device)
        mask = nn.Transformer.generate_square_subsequent_mask(4, device=device)
        x = rms(encoder(embedding(index), src_key_padding_mask=hidden))
        y = decoder(x, x, mask, memory_key_padding_mask=hidden)
        for layer in between:
            y = layer(y)
        y = nn.functional.scaled_dot_product_attention(y, x, x, is_causal=True)
        y = bilinear(y, x).sum() + (bag(index) * bag(index.reshape(-1), nnlab.tensor([0, 3, 3, 7, 9]).to(device))).sum()
        y.backward()
        results.append({name: p.grad.cpu().numpy() for name, p in net.named_parameters()})
        results[-1]["y"] = y.detach().cpu().numpy()
    for key, value in results[0].items():
        np.testing.assert_array_equal(results[1][key], value, err_msg=key)


def test_weights_drawn_for_a_gpu_are_those_of_the_cpu() -> None:
    nnlab.manual_seed(3)
    here = nn.Conv2d(2, 3, 3)
    nnlab.manual_seed(3)
    there = nn.Conv2d(2, 3, 3, device="cuda")
    assert there.weight.device == "cuda:0"
    np.testing.assert_array_equal(there.weight.detach().cpu().numpy(), here.weight.detach().numpy())
    there.load_state_dict(here.state_dict())
    assert there.weight.device == "cuda:0"


@pytest.mark.parametrize("layer", [nn.Conv2d(2, 3, 3), nn.ConvTranspose2d(2, 3, 3), nn.Linear(4, 3), nn.BatchNorm2d(2)])
def test_mixed_devices(layer: nn.Module) -> None:
    with pytest.raises(DeviceError, match=rf"^\[{type(layer).__name__}\] 'input' is on cuda:0 but 'weight' is on cpu"):
        layer(nnlab.ones(1, 2, 4, 4, device="cuda"))


def test_mixed_devices_of_other_functions() -> None:
    x = nnlab.ones(1, 2, 2, device="cuda")
    with pytest.raises(DeviceError, match=r"^\[MaxUnpool1d\] 'input' is on cuda:0 but 'indices' is on cpu"):
        nn.MaxUnpool1d(2)(x, nnlab.zeros(1, 2, 2, dtype=nnlab.int64))
    with pytest.raises(DeviceError, match=r"^\[MSELoss\] 'input' is on cuda:0 but 'target' is on cpu"):
        nn.MSELoss()(x, nnlab.ones(1, 2, 2))
    with pytest.raises(DeviceError, match=r"^\[CrossEntropyLoss\] .*cuda:0.*cpu"):
        nn.CrossEntropyLoss()(x[0], nnlab.zeros(2, dtype=nnlab.int64))
