"""Convolution layers beside the table of cases: even kernels, sizes asked for, worked numbers."""

from __future__ import annotations

import pytest

import nnlab
from nnlab import nn
from nnlab.nn import functional as F
from tests.nn.peer import close, compare, normals, pair


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_same_padding_with_an_even_kernel_puts_the_odd_element_behind() -> None:
    for mode in ("zeros", "reflect"):
        ours, theirs = pair("Conv2d", 2, 3, (2, 4), padding="same", padding_mode=mode)
        compare(ours, theirs, normals(2, 2, 5, 6))


@pytest.mark.torch
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
