"""Convolution layers against PyTorch, over tables of their arguments."""

from __future__ import annotations

from typing import Any

import pytest

import nnlab
from nnlab import nn
from nnlab.nn import functional as F
from tests.nn.peer import close, compare, normals, pair

# (layer, constructor arguments, input shape)
CONV: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("Conv1d", (3, 4, 3), {}, (2, 3, 9)),
    ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}, (2, 4, 10)),
    ("Conv1d", (2, 3, 4), {"dilation": 2, "bias": False}, (2, 2, 11)),
    ("Conv1d", (2, 3, 3), {"padding": "same", "dilation": 2}, (2, 2, 8)),
    ("Conv1d", (2, 3, 3), {}, (2, 7)),
    ("Conv2d", (3, 4, 3), {}, (2, 3, 6, 7)),
    ("Conv2d", (3, 4, (3, 2)), {"stride": (2, 1), "padding": (1, 2)}, (2, 3, 7, 6)),
    ("Conv2d", (4, 8, 3), {"groups": 4, "padding": 1}, (2, 4, 5, 5)),
    ("Conv2d", (4, 6, (2, 3)), {"groups": 2, "dilation": (2, 1), "stride": 2}, (2, 4, 8, 9)),
    ("Conv2d", (3, 4, (3, 5)), {"padding": "same"}, (2, 3, 6, 7)),
    ("Conv2d", (3, 4, 3), {"padding": "valid", "stride": 3}, (2, 3, 8, 7)),
    ("Conv2d", (3, 4, 1), {"stride": 2, "bias": False}, (2, 3, 5, 6)),
    ("Conv2d", (3, 4, 3), {"padding": 1}, (3, 6, 5)),
    ("Conv3d", (2, 3, 2), {}, (2, 2, 4, 5, 4)),
    ("Conv3d", (2, 4, (1, 3, 2)), {"stride": (1, 2, 1), "padding": (0, 1, 1), "groups": 2}, (2, 2, 3, 5, 4)),
    ("Conv3d", (2, 3, 2), {"dilation": (2, 1, 2)}, (2, 4, 4, 5)),
    *[
        (f"Conv{n}d", (2, 3, 3), {"padding": padding, "padding_mode": mode}, (2, 2, *(5, 4, 6)[:n]))
        for n in (1, 2, 3)
        for padding in (2, "same")
        for mode in ("reflect", "replicate", "circular")
    ],
    ("Conv2d", (2, 3, (2, 3)), {"padding": (0, 1), "stride": 2, "padding_mode": "circular"}, (2, 5, 6)),
]
TRANSPOSED: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("ConvTranspose1d", (3, 4, 3), {}, (2, 3, 5)),
    ("ConvTranspose1d", (4, 2, 3), {"stride": 3, "padding": 1, "output_padding": 2, "groups": 2}, (2, 4, 4)),
    ("ConvTranspose2d", (3, 4, 2), {"stride": 2}, (2, 3, 3, 4)),
    ("ConvTranspose2d", (3, 4, 3), {"stride": 2, "padding": 1, "output_padding": 1}, (2, 3, 3, 4)),
    ("ConvTranspose2d", (4, 6, (3, 2)), {"stride": (1, 2), "dilation": (2, 1), "groups": 2}, (2, 4, 3, 4)),
    ("ConvTranspose2d", (3, 2, 3), {"bias": False, "dilation": 2, "output_padding": 1}, (3, 4, 3)),
    ("ConvTranspose3d", (2, 3, 2), {"stride": 2}, (2, 2, 2, 3, 2)),
    ("ConvTranspose3d", (2, 4, (1, 2, 3)), {"padding": (0, 1, 0), "groups": 2, "stride": (1, 2, 2)}, (2, 2, 3, 3, 2)),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "shape"), CONV + TRANSPOSED)
def test_against_torch(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], shape: tuple[int, ...]) -> None:
    ours, theirs = pair(name, *args, **kwargs)
    compare(ours, theirs, normals(*shape))
    assert repr(ours) == repr(theirs)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_same_padding_with_an_even_kernel_puts_the_odd_element_behind() -> None:
    for mode in ("zeros", "reflect"):
        ours, theirs = pair("Conv2d", 2, 3, (2, 4), padding="same", padding_mode=mode)
        compare(ours, theirs, normals(2, 2, 5, 6))


@pytest.mark.parametrize("size", [(8, 9), (9, 10)])
def test_output_size_of_a_transposed_convolution(size: tuple[int, int]) -> None:
    ours, theirs = pair("ConvTranspose2d", 3, 2, (2, 3), stride=2)
    result = compare(ours, theirs, normals(2, 3, 4, 4), output_size=size)
    assert result.shape == (2, 2, *size)


def test_worked_numbers() -> None:
    x = nnlab.tensor([[[1.0, 2.0, 4.0]]])
    w = nnlab.tensor([[[1.0, -1.0]]])
    assert F.conv1d(x, w, nnlab.tensor([10.0])).tolist() == [[[9.0, 8.0]]]
    assert F.conv1d(x, w, None, padding=1).tolist() == [[[-1.0, -1.0, -2.0, 4.0]]]
    assert F.conv1d(x, w, None, padding="same").tolist() == [[[-1.0, -2.0, 4.0]]]
    assert F.conv_transpose1d(x, w).tolist() == [[[1.0, 1.0, 2.0, -4.0]]]


def test_functional_defaults_are_those_of_the_layers() -> None:
    layer = nn.Conv2d(3, 4, 3)
    x = nnlab.randn(2, 3, 5, 5)
    close(layer(x), F.conv2d(x, layer.weight, layer.bias).detach().numpy())
    layer = nn.ConvTranspose2d(3, 4, 3)
    close(layer(x), F.conv_transpose2d(x, layer.weight, layer.bias).detach().numpy())
